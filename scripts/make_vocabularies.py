"""Write the embedded vocabularies from the rank files of an installed openai-whisper.

    python scripts/make_vocabularies.py [FOLDER WITH *.tiktoken]

A rank file lists every token's bytes; byte-pair encoding by ranks joins the neighbours whose union has the
lowest rank. Finding at load which two parts make each token would take seconds, so it is done here, once: the
output has one line per token after the 256 single bytes, "left right" in the byte-level alphabet of GPT-2.
An empty line is a token without bytes (number 50256 of the multilingual vocabulary is one).

Each token has exactly one pair of parts that encoding can ever meet: while two neighbours are whole, nothing
outside them has influenced what was joined within, so encoding the token alone ends in the same pair.
"""

import base64
import gzip
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from stagewhisper.vocabulary import SINGLE_BYTES, spell

ASSETS = Path(__file__).parents[1] / "stagewhisper" / "assets"
NAMES = ("gpt2", "multilingual")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else installed_assets()
    for name in NAMES:
        ranks = read_ranks(folder / f"{name}.tiktoken")
        path = ASSETS / f"{name}.merges.gz"
        path.write_bytes(gzip.compress("\n".join(merge_lines(ranks)).encode(), 9, mtime=0))
        print(f"{path.name}: {len(ranks)} tokens, {path.stat().st_size} bytes")


def installed_assets() -> Path:
    spec = find_spec("whisper")
    if spec is None or spec.origin is None:
        sys.exit("openai-whisper is not installed. Install it with pip, or name the folder of its rank files.")
    return Path(spec.origin).parent / "assets"


def read_ranks(path: Path) -> dict[bytes, int]:
    fields = (line.rpartition(b" ") for line in path.read_bytes().splitlines())
    return {base64.b64decode(token): int(rank) for token, _, rank in fields}


def merge_lines(ranks: dict[bytes, int]) -> list[str]:
    tokens = sorted(ranks, key=lambda token: ranks[token])
    if b"".join(tokens[:256]) != SINGLE_BYTES:
        sys.exit("The first 256 tokens are not the single bytes in GPT-2's order.")
    return [" ".join(spell(part) for part in parts_of(token, ranks)) for token in tokens[256:]]


def parts_of(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """The two tokens whose union `token` is, found by encoding it with all lower ranks."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = (left + right for left, right in pairwise(parts))
        known = [(ranks.get(pair, ranks[token]), place) for place, pair in enumerate(pairs)]
        rank, place = min(known)
        if rank >= ranks[token]:
            sys.exit(f"Token {token!r} cannot be made of two others.")
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


if __name__ == "__main__":
    main()
