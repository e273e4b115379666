import gzip
import json
import random
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import whisper.tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from stagewhisper.errors import OptionError, TokenizerError
from stagewhisper.tokenizer import Tokenizer, load_tokenizer

SIZES = (51864, 51865, 51866)
OURS = {size: load_tokenizer(size) for size in SIZES}
OPENAI = {
    51864: whisper.tokenizer.get_tokenizer(False),
    51865: whisper.tokenizer.get_tokenizer(True, num_languages=99),
    51866: whisper.tokenizer.get_tokenizer(True, num_languages=100),
}
every_size = pytest.mark.parametrize("size", SIZES)

TEXTS = (
    "",
    " ",
    "  \n\n \t x  ",
    "\x00\x01\x7f\x85\xa0\u2028\u3000\ufeff",
    "I'll we've DON'T it's 'tis l’été",
    " And so, my fellow Americans: 1234567890 ½ ² Ⅷ ٣٤ १२",
    "👩‍👩‍👧‍👦🇩🇪🏳️‍🌈 ♪♪♪ ♩ 「漢字」『かな』",
    "Привет мир. Γειά σου. שלום עולם. مرحبا بالعالم، کیا حال",
    "नमस्ते दुनिया। বাংলা ਪੰਜਾਬੀ ગુજરાતી தமிழ் తెలుగు ಕನ್ನಡ മലയാളം සිංහල",
    "สวัสดีชาวโลก ສະບາຍດີ မင်္ဂလာပါ ភាសាខ្មែរ བོད་སྐད",
    "你好，世界。今天天氣很好 こんにちは世界 안녕하세요 세계",
    "ქართული Հայերեն አማርኛ ʻōlelo Hawaiʻi Tiếng Việt Yorùbá ײִדיש",
    "e\u0301 n\u0303 \U0010ffff \ue000 \U00020000",
    "aaaaaaaaaaaaaaaaaaaaaaaa" * 20,
    " " * 300 + "x",
)


@every_size
@pytest.mark.parametrize("text", TEXTS)
def test_text_becomes_the_tokens_that_openai_whisper_gives(size: int, text: str):
    assert OURS[size].encode(text) == OPENAI[size].encode(text)


@every_size
@settings(max_examples=100, deadline=None)
@given(text=st.text())
def test_any_text_becomes_the_tokens_that_openai_whisper_gives(size: int, text: str):
    assert OURS[size].encode(text) == OPENAI[size].encode(text, disallowed_special=())


@every_size
@settings(max_examples=100, deadline=None)
@given(text=st.text())
def test_any_text_survives_encoding_and_decoding(size: int, text: str):
    assert OURS[size].decode(OURS[size].encode(text)) == text


@every_size
def test_real_transcripts_become_the_tokens_that_openai_whisper_gives(size: int, audio_dir: Path):
    lines = (audio_dir / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    texts = {json.loads(line)["text"] for line in lines}
    assert len(texts) > 100
    for text in texts:
        assert OURS[size].encode(text) == OPENAI[size].encode(text)


@every_size
def test_lone_surrogates_are_read_as_replacement_characters(size: int):
    text = "a\ud800b\udfff"
    assert OURS[size].encode(text) == OPENAI[size].encode(text) == OURS[size].encode("a\ufffdb\ufffd")


@every_size
def test_the_name_of_a_special_token_in_a_text_is_plain_text(size: int):
    text = "say <|en|><|endoftext|> and <|0.00|>"
    tokens = OURS[size].encode(text)
    assert max(tokens) < OURS[size].eot
    assert OURS[size].decode(tokens) == text
    assert tokens == OPENAI[size].encode(text, disallowed_special=())


@every_size
def test_random_tokens_decode_to_the_text_that_openai_whisper_gives(size: int):
    choose = random.Random(1)
    for _ in range(1000):
        tokens = [choose.randrange(size) for _ in range(choose.randrange(30))]
        assert OURS[size].decode(tokens) == OPENAI[size].decode(tokens)
        assert OURS[size].decode_with_timestamps(tokens) == OPENAI[size].decode_with_timestamps(tokens)


@every_size
def test_random_bytes_decode_to_the_replacement_characters_that_openai_whisper_gives(size: int):
    choose = random.Random(2)
    for _ in range(2000):
        tokens = [choose.randrange(256) for _ in range(choose.randrange(12))]  # ids below 256 are single bytes
        assert OURS[size].decode(tokens) == OPENAI[size].decode(tokens)


@every_size
def test_each_token_alone_decodes_as_in_openai_whisper(size: int):
    for token in range(size):
        assert OURS[size].decode_with_timestamps([token]) == OPENAI[size].decode_with_timestamps([token])


def test_an_id_without_text_gives_none():
    assert OURS[51865].decode_with_timestamps([*OURS[51865].encode(" a"), 60000]) == " a"


@every_size
def test_special_tokens_have_openai_whispers_ids(size: int):
    ours, openai = OURS[size], OPENAI[size]
    names = ["eot", "sot", "sot_prev", "sot_lm", "translate", "transcribe", "no_speech", "no_timestamps"]
    for name in [*names, "timestamp_begin"]:
        assert getattr(ours, name) == getattr(openai, name), name
    assert tuple(ours.languages.values()) == tuple(sorted(openai.all_language_tokens))
    for code, token in ours.languages.items():
        assert openai.to_language_token(code) == token
    assert ours.n_vocab == openai.encoding.n_vocab == size
    assert ours.is_multilingual is (size != 51864)


@every_size
def test_non_speech_tokens_are_openai_whispers(size: int):
    assert OURS[size].non_speech_tokens == OPENAI[size].non_speech_tokens


@pytest.mark.parametrize("size", [51865, 51866])
@pytest.mark.parametrize("task", ["transcribe", "translate"])
@pytest.mark.parametrize("language", ["en", "zh", "su"])
def test_multilingual_start_sequences_are_openai_whispers(size: int, task: str, language: str):
    openai = whisper.tokenizer.get_tokenizer(True, num_languages=size - 51766, language=language, task=task)
    assert OURS[size].sot_sequence(language, task, timestamps=True) == openai.sot_sequence
    without = OURS[size].sot_sequence(language, task, timestamps=False)
    assert without == openai.sot_sequence_including_notimestamps


def test_the_english_only_start_sequence_names_neither_language_nor_task():
    ours = OURS[51864]
    assert ours.sot_sequence(None, "transcribe", timestamps=True) == OPENAI[51864].sot_sequence == (ours.sot,)
    assert ours.sot_sequence("en", "transcribe", timestamps=False) == (ours.sot, ours.no_timestamps)


@pytest.mark.parametrize(
    ("language", "task", "message"),
    [
        ("yue", "transcribe", "This model has no language 'yue'. It has: en, zh"),
        ("klingon", "transcribe", "No language is called 'klingon'"),
        (None, "transcribe", "needs a language"),
        ("en", "summarize", "No task is called 'summarize'. Known: transcribe, translate"),
    ],
)
def test_an_impossible_start_is_refused(language: str | None, task: str, message: str):
    with pytest.raises(OptionError, match=message):
        OURS[51865].sot_sequence(language, task, timestamps=True)


def test_a_vocabulary_size_that_openai_never_used_is_refused_with_a_remedy():
    with pytest.raises(TokenizerError, match=r"51900 tokens.*51864, 51865, 51866.*tokenizer\.json"):
        load_tokenizer(51900)


def assert_equal(one: Tokenizer, other: Tokenizer) -> None:
    assert one.languages == other.languages
    assert list(one.languages) == list(other.languages)
    assert one.is_multilingual == other.is_multilingual
    assert one.non_speech_tokens == other.non_speech_tokens
    assert (one.no_speech, one.timestamp_begin, one.eot) == (other.no_speech, other.timestamp_begin, other.eot)
    assert one.decode_with_timestamps(range(one.n_vocab)) == other.decode_with_timestamps(range(one.n_vocab))
    for token in range(0, one.n_vocab, 7):
        assert one.decode_with_timestamps([token]) == other.decode_with_timestamps([token])
    for text in [*TEXTS, "say <|en|><|endoftext|> and <|0.00|>"]:
        assert one.encode(text) == other.encode(text)


@every_size
def test_a_saved_tokenizer_is_read_back_identical(size: int, tmp_path: Path):
    OURS[size].save(tmp_path / "tokenizer.json")
    assert_equal(load_tokenizer(size, tmp_path / "tokenizer.json"), OURS[size])


def test_saving_what_was_read_writes_the_same_file_again(tmp_path: Path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    OURS[51865].save(first)
    load_tokenizer(51865, first).save(second)
    assert first.read_bytes() == second.read_bytes()


def test_other_libraries_read_a_saved_tokenizer(tmp_path: Path):
    ours = OURS[51866]
    ours.save(tmp_path / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.encode("<|en|> hello wörld<|1.08|>").ids == [
        ours.languages["en"],
        *ours.encode(" hello wörld"),
        ours.timestamp_begin + 54,
    ]
    assert theirs.decode(ours.encode(TEXTS[7])) == TEXTS[7]


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[int, Callable[[dict[str, Any]], None]], Path]:
    """Writes a tokenizer.json after an edit."""

    def write(size: int, edit: Callable[[dict[str, Any]], None]) -> Path:
        path = tmp_path / "tokenizer.json"
        OURS[size].save(path)
        document = json.loads(path.read_text(encoding="utf-8"))
        edit(document)
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    return write


def make_old(document: dict[str, Any]) -> None:
    """The form of Hugging Face's files before large-v3."""
    document["added_tokens"] = [token for token in document["added_tokens"] if "." not in token["content"]]
    for token in document["added_tokens"]:
        if token["content"] == "<|nospeech|>":
            token["content"] = "<|nocaptions|>"
    end = document["added_tokens"][0]
    document["model"]["vocab"][end["content"]] = end["id"]
    document["model"]["merges"] = [" ".join(pair) for pair in document["model"]["merges"]]
    document["post_processor"] = {
        "type": "ByteLevel",
        "add_prefix_space": True,
        "trim_offsets": True,
        "use_regex": True,
    }


@pytest.mark.parametrize("size", [51864, 51865])
def test_old_files_without_timestamps_and_with_nocaptions_are_read(size: int, edited: Any):
    old = load_tokenizer(size, edited(size, make_old))
    assert old.no_speech == OPENAI[size].no_speech
    assert old.timestamp_begin == OPENAI[size].timestamp_begin
    assert old.is_multilingual == OURS[size].is_multilingual
    assert old.languages == OURS[size].languages
    assert old.non_speech_tokens == OURS[size].non_speech_tokens
    assert old.decode_with_timestamps([size - 1]) == "<|30.00|>"
    for text in [*TEXTS, "say <|en|><|endoftext|>"]:
        assert old.encode(text) == OURS[size].encode(text)


def test_words_that_a_fine_tune_added_are_decoded(edited: Any):
    def add(document: dict[str, Any]) -> None:
        document["added_tokens"].append(
            {**document["added_tokens"][0], "id": 51865, "content": " ünï", "special": False}
        )

    tokenizer = load_tokenizer(51866, edited(51865, add))
    assert tokenizer.decode_with_timestamps([51865]) == " ünï"
    assert tokenizer.timestamp_begin == OPENAI[51865].timestamp_begin


@pytest.mark.parametrize("name", ["<|endoftext|>", "<|nospeech|>", "<|notimestamps|>"])
def test_a_file_without_a_token_that_whisper_needs_is_refused_by_its_name(name: str, edited: Any):
    def remove(document: dict[str, Any]) -> None:
        document["added_tokens"] = [t for t in document["added_tokens"] if t["content"] != name]

    with pytest.raises(TokenizerError, match=name.replace("|", r"\|")):
        load_tokenizer(51865, edited(51865, remove))


def test_a_file_whose_tokens_lie_beyond_the_checkpoints_is_refused(edited: Any):
    path = edited(51866, lambda document: None)
    with pytest.raises(TokenizerError, match=r"<\|30\.00\|> has the id 51865, but the checkpoint has 51865 tokens"):
        load_tokenizer(51865, path)


def test_timestamps_that_are_not_consecutive_are_refused(edited: Any):
    def swap(document: dict[str, Any]) -> None:
        by_name = {token["content"]: token for token in document["added_tokens"]}
        by_name["<|1.00|>"]["content"], by_name["<|1.02|>"]["content"] = "<|1.02|>", "<|1.00|>"

    with pytest.raises(TokenizerError, match=r"<\|1\.00\|>.*consecutive"):
        load_tokenizer(51865, edited(51865, swap))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"model": null}'])
def test_a_damaged_file_is_refused_by_its_name(content: bytes, tmp_path: Path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json is not a readable"):
        load_tokenizer(51865, path)


def test_a_missing_file_is_refused_by_its_name(tmp_path: Path):
    with pytest.raises(TokenizerError, match=r"absent\.json.*FileNotFoundError"):
        load_tokenizer(51865, tmp_path / "absent.json")


def test_a_vocabulary_of_words_is_refused(tmp_path: Path):
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"hello": 0, "world": 1}, unk_token="hello"))
    words.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TokenizerError, match="WordLevel vocabulary that is not byte-level"):
        load_tokenizer(51865, tmp_path / "tokenizer.json")


@pytest.mark.parametrize("name", ["gpt2", "multilingual"])
def test_the_embedded_vocabularies_are_what_the_script_makes(name: str):
    root = Path(__file__).parents[1]
    script = runpy.run_path(str(root / "scripts" / "make_vocabularies.py"))
    ranks = script["read_ranks"](script["installed_assets"]() / f"{name}.tiktoken")
    stored = (root / "stagewhisper" / "assets" / f"{name}.merges.gz").read_bytes()
    assert gzip.decompress(stored).decode().split("\n") == script["merge_lines"](ranks)
    assert len(stored) < 1_000_000
