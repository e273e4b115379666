"""How a step of the recipe ends when something is wrong with what it was given."""

import sys
from collections.abc import Callable

from stagewhisper.errors import StagewhisperError


def run(main: Callable[[], None]) -> None:
    """Call `main`; an error raised on purpose becomes one line on standard error, and exit code 2."""
    try:
        main()
    except StagewhisperError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
