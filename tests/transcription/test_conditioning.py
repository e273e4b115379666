"""What a window is told of the text before it."""

from typing import Any

import pytest

from stagewhisper.tokenizer import load_tokenizer
from stagewhisper.transcript import Segment
from stagewhisper.transcription import transcription_options
from stagewhisper.transcription.conditioning import Conditioning

TOKENIZER = load_tokenizer(51865)
PROMPT = TOKENIZER.encode(" Mind the gap")


def conditioning(**options: Any) -> Conditioning:
    return Conditioning(TOKENIZER, transcription_options(options), n_text_ctx=448)  # type: ignore[arg-type]


def spoken(*tokens: int) -> list[Segment]:
    """A window's only segment."""
    return [Segment(0, 0, 0.0, 1.0, "", tokens, 0.0, 0.0, 1.0, 0.0)]


def test_the_first_window_is_told_the_initial_prompt() -> None:
    assert conditioning().prompt() == []
    assert conditioning(initial_prompt="  Mind the gap ").prompt() == PROMPT


def test_later_windows_are_told_all_that_was_said() -> None:
    memory = conditioning(initial_prompt="Mind the gap")
    memory.extend(spoken(1, 2), temperature=0.0)
    memory.extend(spoken(3), temperature=0.5)
    assert memory.prompt() == [*PROMPT, 1, 2, 3]


def test_without_conditioning_only_the_first_window_is_told_anything() -> None:
    memory = conditioning(initial_prompt="Mind the gap", condition_on_previous_text=False)
    assert memory.prompt() == PROMPT
    memory.extend(spoken(1, 2), temperature=0.0)
    assert memory.prompt() == []


def test_uncertain_text_is_not_built_upon() -> None:
    memory = conditioning()
    memory.extend(spoken(1, 2), temperature=0.0)
    memory.extend(spoken(3), temperature=0.6)
    assert memory.prompt() == []
    memory.extend(spoken(4), temperature=0.0)
    assert memory.prompt() == [4]


@pytest.mark.parametrize("keeps", [True, False])
def test_a_carried_prompt_stands_before_every_window(keeps: bool) -> None:
    memory = conditioning(initial_prompt="Mind the gap", carry_initial_prompt=True, condition_on_previous_text=keeps)
    assert memory.prompt() == PROMPT
    memory.extend(spoken(1, 2), temperature=0.0)
    assert memory.prompt() == [*PROMPT, *((1, 2) if keeps else ())]


def test_a_carried_prompt_leaves_room_for_the_latest_text_only() -> None:
    memory = conditioning(initial_prompt="Mind the gap", carry_initial_prompt=True)
    memory.extend(spoken(*range(1000, 1500)), temperature=0.0)
    prompt = memory.prompt()
    assert len(prompt) == 448 // 2 - 1
    assert prompt[: len(PROMPT)] == PROMPT
    assert prompt[-1] == 1499
