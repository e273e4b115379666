"""Show values of a hostile file in a message: escaped, shortened, and of bounded depth."""

import reprlib

_REPR = reprlib.Repr()
_REPR.maxlevel = 2
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 100


def quoted(value: object) -> str:
    """`repr(value)` of at most a few hundred characters, whatever a file made of it."""
    return _REPR.repr(value)
