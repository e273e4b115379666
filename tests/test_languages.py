import pytest
from whisper.tokenizer import LANGUAGES as OPENAI_LANGUAGES
from whisper.tokenizer import TO_LANGUAGE_CODE

from stagewhisper.errors import OptionError
from stagewhisper.languages import LANGUAGES, language_code


def test_languages_are_openai_whispers_in_the_same_order():
    assert [(code, name.lower()) for code, name in LANGUAGES.items()] == list(OPENAI_LANGUAGES.items())


@pytest.mark.parametrize(("name", "code"), TO_LANGUAGE_CODE.items())
def test_every_name_that_openai_whisper_accepts_gives_the_same_code(name: str, code: str):
    assert language_code(name) == code
    assert language_code(name.title()) == code


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_code_and_its_token_give_the_code(code: str):
    assert language_code(code) == language_code(code.upper()) == language_code(f"<|{code}|>") == code


def test_an_unknown_language_is_refused_with_the_closest_name_and_the_known_ones():
    with pytest.raises(OptionError, match=r"'Germn'.*Did you mean 'german'\?.*de \(German\).*yue \(Cantonese\)"):
        language_code("Germn")


@pytest.mark.parametrize("name", ["", "<||>", "qqqqqqq", "english french"])
def test_what_is_no_language_is_refused(name: str):
    with pytest.raises(OptionError, match="No language is called"):
        language_code(name)
