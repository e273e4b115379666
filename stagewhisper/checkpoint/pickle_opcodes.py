"""Cut a pickle into opcodes and their arguments, without acting on any.

Python's pickletools.genops does this too, but decodes the arguments of opcodes that are refused anyway,
and warns about some of them.

Source of the format: the tables of Python's pickletools.py.
"""

import pickletools
import struct
from collections.abc import Iterator

_NAMES = {opcode.code: opcode.name for opcode in pickletools.opcodes}
_FIXED = {
    "PROTO": struct.Struct("<B"),
    "FRAME": struct.Struct("<Q"),
    "BININT": struct.Struct("<i"),
    "BININT1": struct.Struct("<B"),
    "BININT2": struct.Struct("<H"),
    "BINFLOAT": struct.Struct(">d"),
    "BINPUT": struct.Struct("<B"),
    "LONG_BINPUT": struct.Struct("<I"),
    "BINGET": struct.Struct("<B"),
    "LONG_BINGET": struct.Struct("<I"),
}
_LENGTH_BYTES = {"LONG1": 1, "SHORT_BINUNICODE": 1, "BINUNICODE": 4, "BINUNICODE8": 8}
_BARE = {
    *("NONE", "NEWTRUE", "NEWFALSE", "MARK", "POP", "POP_MARK", "MEMOIZE", "EMPTY_LIST", "EMPTY_DICT"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "APPENDS", "SETITEM", "SETITEMS"),
    *("STACK_GLOBAL", "BINPERSID", "BUILD", "REDUCE", "STOP"),
}
_LONGEST_NAME_BYTES = 1000
_SHOWN_BYTES = 60


class UnsupportedOpcodeError(Exception):
    """An opcode that no checkpoint needs."""


def opcodes(data: bytes) -> Iterator[tuple[str, object]]:
    """Each opcode's name, as in pickletools, with its argument or None, up to STOP.

    Raises:
        UnsupportedOpcodeError: the opcode is not one of those that torch.save writes.
        ValueError: the pickle is cut or broken.
    """
    name, position = "", 0
    while name != "STOP":
        name = _name(data, position)
        argument, position = _argument(name, data, position + 1)
        yield name, argument


def _name(data: bytes, position: int) -> str:
    if position >= len(data):
        raise ValueError("it ends without STOP")
    name = _NAMES.get(chr(data[position]))
    if name is None:
        raise ValueError(f"byte {position} is {data[position]}, which is no opcode")
    return name


def _argument(name: str, data: bytes, start: int) -> tuple[object, int]:
    """The argument at `start`, and where the next opcode begins."""
    if name in _BARE:
        return None, start
    if name in _FIXED:
        layout = _FIXED[name]
        (number,) = layout.unpack(_slice(data, start, layout.size))
        return number, start + layout.size
    if name in _LENGTH_BYTES:
        n_length_bytes = _LENGTH_BYTES[name]
        length = int.from_bytes(_slice(data, start, n_length_bytes), "little")
        content = _slice(data, start + n_length_bytes, length)
        end = start + n_length_bytes + length
        if name == "LONG1":
            return int.from_bytes(content, "little", signed=True), end
        return content.decode("utf-8", "surrogatepass"), end
    if name == "GLOBAL":
        return _two_lines(data, start)
    raise UnsupportedOpcodeError(f"it uses the opcode {name} with {data[start : start + _SHOWN_BYTES]!r}")


def _slice(data: bytes, start: int, length: int) -> bytes:
    content = data[start : start + length]
    if len(content) != length:
        raise ValueError(f"byte {start} begins {length} bytes, of which {len(content)} are there")
    return content


def _two_lines(data: bytes, start: int) -> tuple[str, int]:
    """Module and attribute with a space between, as pickletools shows them."""
    lines = data[start : start + _LONGEST_NAME_BYTES].split(b"\n", 2)
    if len(lines) != 3:
        raise ValueError(f"byte {start} begins a name that does not end")
    module, attribute = (line.decode("utf-8") for line in lines[:2])
    return f"{module} {attribute}", start + len(lines[0]) + len(lines[1]) + 2
