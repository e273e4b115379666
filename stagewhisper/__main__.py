"""`python -m stagewhisper`, the same as the command `stagewhisper`."""

import sys

from stagewhisper.cli import main

if __name__ == "__main__":
    sys.exit(main())
