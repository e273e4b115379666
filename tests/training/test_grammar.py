import random
import re
import string
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from training import grammar
from training.grammar import (
    LANGUAGES,
    AreaCode,
    Code,
    Command,
    Control,
    Date,
    Groups,
    Letters,
    Meaning,
    Number,
    Ordinal,
    Time,
    Word,
    Year,
    draw,
    draw_meaning,
    frames,
    render,
    translation,
)
from training.grammar.lexicon import lexicon
from training.grammar.number_words import cardinal, ordinal, year
from training.grammar.prompts import plain
from training.grammar.pronunciation import spoken

AN4_WORDS = """
AND APOSTROPHE APRIL AREA AUGUST CODE DECEMBER EIGHT EIGHTEEN EIGHTEENTH EIGHTH EIGHTY ELEVEN ELEVENTH ENTER ERASE
FEBRUARY FIFTEEN FIFTEENTH FIFTH FIFTY FIRST FIVE FORTY FOUR FOURTEEN FOURTH GO HALF HELP HUNDRED JANUARY JULY JUNE
MARCH MAY NINE NINETEEN NINETY NINTH NO OCTOBER OF OH ONE REPEAT RUBOUT SECOND SEPTEMBER SEVEN SEVENTEEN SEVENTH
SEVENTY SIX SIXTEEN SIXTEENTH SIXTH SIXTY START STOP TEN THIRD THIRTIETH THIRTY THOUSAND THREE TWELFTH TWELVE
TWENTIETH TWENTY TWO YES ZERO
"""

README_MEANINGS: list[Meaning] = [
    Groups((7,)),
    Groups((7, 3, 9)),
    Groups((4, 42)),
    AreaCode((4, 1, 2)),
    Letters("SMITH"),
    Code("GMEF", (3, 9)),
    Control("enter", Groups((60,))),
    Number(123),
    Ordinal(3),
    Year(1987),
    Date(12, 3, 2010),
    Time(3, 30),
    Word("control", "stop"),
    Command("light_on", (("device", "light"), ("room", "kitchen"))),
]

EXAMPLES: list[tuple[Meaning, str, str, str, str]] = [
    (Groups((7,)), "Seven.", "Siete.", "Sieben.", "Sept."),
    (Groups((7, 3, 9)), "Seven three nine.", "Siete tres nueve.", "Sieben drei neun.", "Sept trois neuf."),
    (Groups((0, 42)), "Zero forty two.", "Cero cuarenta y dos.", "Null zweiundvierzig.", "Zéro quarante-deux."),
    (AreaCode((4, 1, 2)), "Area code four one two.", "Prefijo cuatro uno dos.", "Vorwahl vier eins zwei.",
     "Indicatif quatre un deux."),
    (Letters("GME"), "G M E.", "G M E.", "G M E.", "G M E."),
    (Code("AVMU", (4, 42)), "A V M U four forty two.", "A V M U cuatro cuarenta y dos.", "A V M U vier zweiundvierzig.",
     "A V M U quatre quarante-deux."),
    (Control("stop"), "Stop.", "Alto.", "Stopp.", "Stop."),
    (Control("enter", Groups((60,))), "Enter sixty.", "Introducir sesenta.", "Eingabe sechzig.", "Entrer soixante."),
    (Control("rubout", Code("PB", (8,))), "Rubout P B eight.", "Tachar P B ocho.", "Ausradieren P B acht.",
     "Gommer P B huit."),
    (Number(123), "One hundred twenty three.", "Ciento veintitrés.", "Einhundertdreiundzwanzig.", "Cent vingt-trois."),
    (Ordinal(3), "The third.", "El tercero.", "Der dritte.", "Le troisième."),
    (Year(1987), "Nineteen eighty seven.", "Mil novecientos ochenta y siete.", "Neunzehnhundertsiebenundachtzig.",
     "Mille neuf cent quatre-vingt-sept."),
    (Year(1905), "Nineteen oh five.", "Mil novecientos cinco.", "Neunzehnhundertfünf.", "Mille neuf cent cinq."),
    (Year(2015), "Twenty fifteen.", "Dos mil quince.", "Zweitausendfünfzehn.", "Deux mille quinze."),
    (Date(12, 3, 1987), "March twelfth, nineteen eighty seven.", "El doce de marzo de mil novecientos ochenta y siete.",
     "Am zwölften März neunzehnhundertsiebenundachtzig.", "Le douze mars mille neuf cent quatre-vingt-sept."),
    (Date(1, 8), "August first.", "El primero de agosto.", "Am ersten August.", "Le premier août."),
    (Date(31, 1), "January thirty first.", "El treinta y uno de enero.", "Am einunddreißigsten Januar.",
     "Le trente et un janvier."),
    (Time(3, 0), "Three o'clock.", "Las tres.", "Drei Uhr.", "Trois heures."),
    (Time(1, 30), "Half past one.", "La una y media.", "Halb zwei.", "Une heure et demie."),
    (Time(12, 45), "Quarter to one.", "La una menos cuarto.", "Viertel vor eins.", "Une heure moins le quart."),
    (Time(12, 30), "Half past twelve.", "Las doce y media.", "Halb eins.", "Midi et demi."),
    (Time(3, 20), "Twenty past three.", "Las tres y veinte.", "Zwanzig nach drei.", "Trois heures vingt."),
    (Time(7, 25), "Twenty five past seven.", "Las siete y veinticinco.", "Fünf vor halb acht.",
     "Sept heures vingt-cinq."),
    (Time(15, 30), "Fifteen thirty.", "Las quince y treinta.", "Fünfzehn Uhr dreißig.", "Quinze heures trente."),
    (Time(21, 0), "Twenty one hundred hours.", "Las veintiuna horas.", "Einundzwanzig Uhr.", "Vingt et une heures."),
    (Time(13, 1), "Thirteen oh one.", "Las trece y uno.", "Dreizehn Uhr eins.", "Treize heures une."),
    (Word("weekday", "tuesday"), "Tuesday.", "Martes.", "Dienstag.", "Mardi."),
    (Word("colour", "white"), "White.", "Blanco.", "Weiß.", "Blanc."),
    (Word("way", "up"), "Up.", "Hacia arriba.", "Nach oben.", "Vers le haut."),
    (Command("light_on", (("device", "light"), ("room", "kitchen"))), "Turn on the light in the kitchen.",
     "Enciende la luz en la cocina.", "Schalte das Licht in der Küche ein.", "Allume la lumière dans la cuisine."),
    (Command("light_on", (("device", "radio"), ("room", "garden"))), "Turn on the radio in the garden.",
     "Enciende la radio en el jardín.", "Schalte das Radio im Garten ein.", "Allume la radio dans le jardin."),
    (Command("device_off", (("device", "fan"),)), "Turn off the fan.", "Apaga el ventilador.",
     "Schalte den Ventilator aus.", "Éteins le ventilateur."),
    (Command("is_device_on", (("device", "alarm"),)), "Is the alarm on?", "¿Está encendida la alarma?",
     "Ist der Alarm an?", "Est-ce que l'alarme est allumée?"),
    (Command("is_open", (("opening", "door"),)), "The door is open.", "La puerta está abierta.", "Die Tür ist offen.",
     "La porte est ouverte."),
    (Command("is_closed", (("opening", "fridge"),)), "The fridge is closed.", "El frigorífico está cerrado.",
     "Der Kühlschrank ist geschlossen.", "Le réfrigérateur est fermé."),
    (Command("where_is", (("thing", "box"),)), "Where is the box?", "¿Dónde está la caja?", "Wo ist die Kiste?",
     "Où est la boîte?"),
    (Command("where_place", (("place", "hotel"),)), "Where is the hotel?", "¿Dónde está el hotel?",
     "Wo ist das Hotel?", "Où est l'hôtel?"),
    (Command("how_far", (("place", "school"),)), "How far is it to the school?", "¿A qué distancia está la escuela?",
     "Wie weit ist es bis zur Schule?", "À quelle distance est l'école?"),
    (Command("count_things", (("count", 3), ("things", "book"))), "Three books.", "Tres libros.", "Drei Bücher.",
     "Trois livres."),
    (Command("go_to", (("room", "garden"),)), "Go to the garden.", "Ve al jardín.", "Geh in den Garten.",
     "Va dans le jardin."),
    (Command("go_to", (("room", "bathroom"),)), "Go to the bathroom.", "Ve al baño.", "Geh ins Bad.",
     "Va dans la salle de bains."),
    (Command("turn_next", (("nth", "second"), ("direction", "left"))), "Take the second street and turn left.",
     "Toma la segunda calle y gira a la izquierda.", "Nimm die zweite Straße und biege nach links ab.",
     "Prends la deuxième rue et tourne à gauche."),
    (Command("train_leaves", (("time", Time(1, 0)),)), "The train leaves at one o'clock.", "El tren sale a la una.",
     "Der Zug fährt um ein Uhr.", "Le train part à une heure."),
    (Command("timer", (("duration", 8),)), "Set a timer for eight minutes.", "Pon un temporizador de ocho minutos.",
     "Stell einen Wecker auf acht Minuten.", "Mets un minuteur de huit minutes."),
]  # fmt: skip


@pytest.fixture(scope="module")
def meanings() -> list[Meaning]:
    rng = random.Random(0)
    return [draw_meaning(rng) for _ in range(5000)]


@pytest.mark.parametrize(("meaning", "en", "es", "de", "fr"), EXAMPLES)
def test_a_meaning_is_said_as_a_speaker_of_each_language_says_it(meaning: Meaning, en: str, es: str, de: str, fr: str):
    assert [render(meaning, language) for language in LANGUAGES] == [en, es, de, fr]


def test_every_kind_of_meaning_has_an_example():
    assert {type(meaning) for meaning, *_ in EXAMPLES} == set(Meaning.__args__)


@pytest.mark.parametrize(
    ("language", "value", "words"),
    [
        ("en", 21, "twenty one"),
        ("en", 40, "forty"),
        ("en", 2552, "two thousand five hundred fifty two"),
        ("de", 1, "eins"),
        ("de", 16, "sechzehn"),
        ("de", 17, "siebzehn"),
        ("de", 21, "einundzwanzig"),
        ("de", 30, "dreißig"),
        ("de", 76, "sechsundsiebzig"),
        ("es", 16, "dieciséis"),
        ("es", 21, "veintiuno"),
        ("es", 22, "veintidós"),
        ("es", 23, "veintitrés"),
        ("es", 24, "veinticuatro"),
        ("es", 25, "veinticinco"),
        ("es", 26, "veintiséis"),
        ("es", 27, "veintisiete"),
        ("es", 28, "veintiocho"),
        ("es", 29, "veintinueve"),
        ("es", 31, "treinta y uno"),
        ("es", 100, "cien"),
        ("es", 500, "quinientos"),
        ("es", 900, "novecientos"),
        ("fr", 21, "vingt et un"),
        ("fr", 70, "soixante-dix"),
        ("fr", 71, "soixante et onze"),
        ("fr", 72, "soixante-douze"),
        ("fr", 77, "soixante-dix-sept"),
        ("fr", 80, "quatre-vingts"),
        ("fr", 81, "quatre-vingt-un"),
        ("fr", 90, "quatre-vingt-dix"),
        ("fr", 91, "quatre-vingt-onze"),
        ("fr", 99, "quatre-vingt-dix-neuf"),
        ("fr", 200, "deux cents"),
        ("fr", 201, "deux cent un"),
    ],
)
def test_cardinals_are_spelled_as_the_language_spells_them(language: str, value: int, words: str):
    assert cardinal(value, language) == words


def test_ordinals_are_right_where_they_are_irregular():
    assert [ordinal(day, "en") for day in (5, 9, 12, 20, 22, 30)] == [
        "fifth", "ninth", "twelfth", "twentieth", "twenty second", "thirtieth",
    ]  # fmt: skip
    assert [ordinal(day, "de") for day in (1, 3, 7, 8, 19, 20, 31)] == [
        "erste", "dritte", "siebte", "achte", "neunzehnte", "zwanzigste", "einunddreißigste",
    ]  # fmt: skip
    assert [ordinal(n, "es") for n in (1, 7, 11, 13)] == ["primero", "séptimo", "undécimo", "decimotercero"]
    assert [ordinal(n, "fr") for n in (1, 5, 9, 11)] == ["premier", "cinquième", "neuvième", "onzième"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1100, "eleven hundred"),
        (1900, "nineteen hundred"),
        (2000, "two thousand"),
        (2005, "two thousand five"),
        (2010, "twenty ten"),
    ],
)
def test_english_years_are_read_in_pairs_except_those_from_2000_to_2009(value: int, words: str):
    assert year(value, "en") == words


def test_the_same_seed_draws_the_same_utterances():
    def drawn(seed: int) -> list[grammar.Utterance]:
        rng = random.Random(seed)
        return [draw(rng) for _ in range(200)]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)


def test_the_translation_is_the_usual_english_form_whatever_form_was_said():
    rng = random.Random(9)
    utterances = [draw(rng, ("en",)) for _ in range(500)]
    assert all(utterance.translation == render(utterance.meaning, "en") for utterance in utterances)
    assert any(utterance.translation != utterance.text for utterance in utterances)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_is_words_with_a_capital_and_one_mark_at_the_end(language: str, meanings: list[Meaning]):
    rng = random.Random(1)
    for meaning in meanings:
        text = render(meaning, language, rng)
        assert re.fullmatch(r"¿?[^\W\d_][^\d_.?¿{}()|]*[.?]", text), text
        assert text.lstrip("¿")[0].isupper(), text
        assert "  " not in text
        assert text.startswith("¿") == (language == "es" and text.endswith("?")), text


def test_a_statement_and_a_question_stay_what_they_are_in_every_language(meanings: list[Meaning]):
    for meaning in meanings:
        assert len({render(meaning, language)[-1] for language in LANGUAGES}) == 1, meaning


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_frame_says_the_same_slots_in_every_form(language: str):
    for name, frame in lexicon().frames.items():
        for form in frame[language]:
            used = re.findall(r"\{(\w+)\}", form)
            assert sorted(used) == sorted(frames.slots(name)), (name, form)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_every_slot_can_be_said(language: str):
    for name in lexicon().frames:
        slots = frames.slots(name)
        for slot in slots:
            for choice in frames.choices(slot):
                filled = tuple((s, choice if s == slot else _any(s)) for s in slots)
                assert render(Command(name, filled), language)


def test_every_group_of_words_is_used_by_a_frame_or_said_alone(meanings: list[Meaning]):
    words = tomllib.loads((Path(grammar.__file__).parent / "words.toml").read_text("utf-8"))
    groups = {group for kind in words.values() for group in kind}
    slots = {slot for frame in lexicon().frames for slot in frames.slots(frame)} - {"time"}
    in_frames = {slot if slot in groups else slot.removesuffix("s") for slot in slots}
    alone = {meaning.group for meaning in meanings if isinstance(meaning, Word)}
    assert in_frames | alone == groups


@pytest.mark.parametrize("language", ["es", "de", "fr"])
def test_what_sounds_alike_is_translated_alike(language: str):
    rng = random.Random(2)
    meanings = [draw_meaning(rng) for _ in range(20_000)]
    translations: dict[str, str] = {}
    for meaning in meanings:
        text = re.sub("[ ,-]", "", render(meaning, language, rng))  # "acht zehn" is heard as "achtzehn"
        assert translations.setdefault(text, plain(translation(meaning))) == plain(translation(meaning)), text


@pytest.mark.parametrize(
    ("language", "wrong"),
    [
        ("es", r"\b(a el|de el)\b"),
        ("de", r"\b(in dem|in das)\b"),
        ("fr", r"\b([lLdD][ea] [aeiouéè](?!nze)|de le|à le|[ld]'(huit|haut|onze))\b"),
    ],
)
def test_contractions_are_made_where_the_language_demands_them(language: str, wrong: str, meanings: list[Meaning]):
    commands = [meaning for meaning in meanings if isinstance(meaning, Command)]
    assert commands
    for meaning in commands:
        assert not re.search(wrong, render(meaning, language)), render(meaning, language)


def test_the_words_of_the_an4_census_task_are_all_drawn():
    rng = random.Random(5)
    texts = [draw(rng, ("en",)).text for _ in range(20_000)]
    words = {word for text in texts for word in plain(text).upper().split()}
    assert set(AN4_WORDS.split()) - words == set()
    assert set(string.ascii_uppercase) - words == set()


def test_utterances_are_short():
    rng = random.Random(6)
    lengths = [len(draw(rng).text.split()) for _ in range(5000)]
    assert 3 < sum(lengths) / len(lengths) < 5
    assert 0.1 < sum(length == 1 for length in lengths) / len(lengths) < 0.25
    assert sum(length > 10 for length in lengths) / len(lengths) < 0.01
    assert max(lengths) <= 16


def test_english_is_drawn_about_as_often_as_two_other_languages():
    rng = random.Random(7)
    languages = [draw(rng).language for _ in range(5000)]
    assert 0.37 < languages.count("en") / len(languages) < 0.43
    assert {draw(rng, ("de",)).language for _ in range(20)} == {"de"}


def test_a_generator_chooses_among_the_forms_that_people_use():
    def forms(meaning: Meaning, language: str) -> set[str]:
        rng = random.Random(8)
        return {render(meaning, language, rng) for _ in range(100)}

    assert forms(Groups((4, 0)), "en") == {"Four zero.", "Four oh."}
    assert forms(Groups((0,)), "en") == {"Zero."}
    assert forms(Number(6881), "en") == {
        "Six thousand eight hundred eighty one.",
        "Six thousand eight hundred and eighty one.",
    }
    assert forms(Number(105), "de") == {"Einhundertfünf.", "Hundertfünf."}
    assert forms(Date(9, 5, 1962), "en") == {
        "May ninth, nineteen sixty two.",
        "May ninth, sixty two.",
        "The ninth of May, nineteen sixty two.",
        "The ninth of May, sixty two.",
    }
    assert forms(Time(4, 15), "de") == {"Viertel nach vier.", "Vier Uhr fünfzehn."}


def test_the_readme_names_every_kind_with_its_share_and_words_that_the_grammar_says():
    table = (Path(grammar.__file__).parent / "README.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines() if " % |" in line]
    assert {row[0]: row[1] for row in rows} == {kind: f"{share} %" for kind, (share, _) in grammar.KINDS.items()}
    said = {tuple(render(meaning, language) for language in LANGUAGES) for meaning in README_MEANINGS}
    assert {tuple(row[2:]) for row in rows} == said


def test_a_plain_prompt_has_neither_capitals_nor_punctuation():
    assert plain("¿Dónde está la caja?") == "dónde está la caja"
    assert plain("March twelfth, nineteen eighty seven.") == "march twelfth nineteen eighty seven"
    assert plain("Aujourd'hui, c'est lundi.") == "aujourd'hui c'est lundi"
    assert plain("Réveille-moi à midi.") == "réveille-moi à midi"


@pytest.mark.parametrize(
    ("text", "language", "said"),
    [
        ("K A R L A.", "en", "K ª R L ª."),
        ("B Y R O siete.", "es", "B igriega erre O siete."),
        ("B Y R O sept.", "fr", "B igrec R O sept."),
        ("A B C Y.", "de", "A B C Y."),
        ("Close the door.", "en", "Cloze the door."),
        ("Call Anna.", "en", "Call Anna."),
    ],
)
def test_a_voice_is_given_letters_by_their_names(text: str, language: str, said: str):
    assert spoken(text, language)[0] == said


def test_each_character_given_to_a_voice_knows_its_place_in_the_text():
    text = "B Y R O siete."
    said, places = spoken(text, "es")
    assert len(places) == len(said)
    words = [places[match.start()] for match in re.finditer(r"\S+", said)]
    assert words == [match.start() for match in re.finditer(r"\S+", text)]


def _any(slot: str) -> str | int | Time:
    return Time(3, 30) if slot == "time" else frames.choices(slot)[0]
