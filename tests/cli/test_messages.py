import logging
import warnings

import pytest

from stagewhisper.cli.messages import messages_on_stderr, report
from stagewhisper.errors import AudioError, AudioWarning

LOG = logging.getLogger("stagewhisper.anything")


def _said(capsys, *, informative=False, debug=False):
    with messages_on_stderr(informative=informative, debug=debug):
        LOG.debug("detail")
        LOG.info("news")
        LOG.warning("doubt of\nseveral lines")
        LOG.error("fault")
    return capsys.readouterr().err.splitlines()


def test_warnings_and_errors_are_always_shown_on_one_line_each(capsys):
    assert _said(capsys) == ["stagewhisper: warning: doubt of several lines", "stagewhisper: error: fault"]


def test_news_is_shown_when_asked_for_and_details_when_debugging(capsys):
    assert _said(capsys, informative=True)[0] == "stagewhisper: news"
    assert _said(capsys, debug=True)[0] == "stagewhisper: detail"


def test_a_warning_is_one_line_each_time_it_is_given(capsys):
    with messages_on_stderr(informative=False, debug=False):
        for _ in range(2):
            warnings.warn("cut short", AudioWarning, stacklevel=1)
    assert capsys.readouterr().err == "stagewhisper: warning: cut short\n" * 2


def test_the_warnings_of_others_keep_their_form():
    with pytest.warns(RuntimeWarning, match="theirs"), messages_on_stderr(informative=False, debug=False):
        warnings.warn("theirs", RuntimeWarning, stacklevel=1)


def test_nothing_stays_behind():
    former = logging.getLogger("stagewhisper").handlers[:], warnings.showwarning
    with messages_on_stderr(informative=True, debug=True):
        assert logging.getLogger("stagewhisper").handlers != former[0]
    assert (logging.getLogger("stagewhisper").handlers, warnings.showwarning) == former


def test_a_failure_names_its_input_once(capsys):
    with messages_on_stderr(informative=False, debug=False) as messages:
        messages.failure(AudioError("There is no audio."), name="x.wav")
        messages.failure(AudioError("'x.wav' holds no audio."), name="x.wav")
        messages.failure(ZeroDivisionError(), name="x.wav")
        messages.failure(KeyError("k"))
    assert capsys.readouterr().err.splitlines() == [
        "stagewhisper: error: x.wav: There is no audio.",
        "stagewhisper: error: 'x.wav' holds no audio.",
        "stagewhisper: error: x.wav: ZeroDivisionError",
        "stagewhisper: error: KeyError: 'k'",
    ]


@pytest.mark.parametrize("name", ["C:\\talks\\a.wav", "a\udcff.wav"])
def test_a_name_that_the_message_quotes_in_pythons_way_is_not_added(name, capsys):
    with messages_on_stderr(informative=False, debug=False) as messages:
        messages.failure(AudioError(f"{name!r} is empty."), name=name)
    assert capsys.readouterr().err == f"stagewhisper: error: {name!r} is empty.\n"


def test_debugging_shows_where_a_failure_arose(capsys):
    with messages_on_stderr(informative=False, debug=True) as messages:
        try:
            raise AudioError("no audio")
        except AudioError as error:
            messages.failure(error)
    assert "Traceback" in capsys.readouterr().err


def test_a_message_without_a_kind_starts_with_the_programs_name(capsys):
    report(None, "hello")
    assert capsys.readouterr().err == "stagewhisper: hello\n"
