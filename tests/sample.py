"""The recording that comes with the project, and what is said in it, as the README has them."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"

_found = re.search(r"stagewhisper transcribe (samples/\S+) .*?It prints `(.+?)`", README.read_text("utf-8"), re.DOTALL)
assert _found is not None, "README.md has no first command, or does not say what it prints"

SAMPLE = README.parent / _found[1]
SAMPLE_TEXT = _found[2]
