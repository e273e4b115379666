"""Build the plain data and the tensors that a torch pickle describes, without running it.

A pickle is a program for a stack machine. Python's `pickle` lets it import and call anything. This machine
knows a fixed set of opcodes and the names of torch_names.py; anything else ends the reading with a
CheckpointError that tells what was asked for.

Source: Python's pickletools.py, which documents the opcodes.
"""

from collections.abc import Callable

from stagewhisper.checkpoint.pickle_opcodes import UnsupportedOpcodeError, opcodes
from stagewhisper.checkpoint.quoting import quoted
from stagewhisper.checkpoint.torch_names import (
    OrderedPairs,
    RefusedError,
    TensorMaker,
    constructed,
    known_name,
    storage,
)
from stagewhisper.errors import CheckpointError

_MOST_OPCODES = 200_000  # large-v3's pickle has about 40,000


def read_pickle(data: bytes, *, make_tensor: TensorMaker, source: str) -> object:
    """The value that `data` describes: dicts, lists, tuples, numbers, strings and what `make_tensor` makes.

    `source` names the file in messages.

    Raises:
        CheckpointError: the pickle is broken, too long, or asks for anything but tensors and plain data.
    """
    try:
        return _run(data, make_tensor)
    except (RefusedError, UnsupportedOpcodeError) as error:
        raise CheckpointError(
            f"{source} was refused, and nothing in it was run: {error}. "
            "Expected tensors and plain data only. Get the checkpoint from its publisher, or as safetensors."
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{source} holds a broken pickle: {quoted(str(error))}. Fetch it again.") from error


def _run(data: bytes, make_tensor: TensorMaker) -> object:
    machine = _Machine(make_tensor)
    for count, (opcode, argument) in enumerate(opcodes(data)):
        if count == _MOST_OPCODES:
            raise RefusedError(f"it has more than {_MOST_OPCODES} steps")
        machine.step(opcode, argument)
    return machine.result()


class _Machine:
    """The stack, the marks on it, and the memo of a pickle that is being read."""

    def __init__(self, make_tensor: TensorMaker) -> None:
        self._make_tensor = make_tensor
        self._stack: list[object] = []
        self._below_marks: list[list[object]] = []
        self._memo: dict[int, object] = {}

    def step(self, opcode: str, argument: object) -> None:
        """Do what one opcode says."""
        if opcode in _VALUES:
            self._stack.append(argument)
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode])
        elif opcode not in _IGNORED:
            _ACTIONS[opcode](self, argument)

    def result(self) -> object:
        """What the pickle left on the stack."""
        if len(self._stack) != 1 or self._below_marks:
            raise RefusedError("it does not end with a single value")
        return self._stack[0]

    def _pop(self) -> object:
        if not self._stack:
            raise RefusedError("it takes a value from the empty stack")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[object]:
        if not self._below_marks:
            raise RefusedError("it returns to a mark that it did not set")
        items, self._stack = self._stack, self._below_marks.pop()
        return items

    def mark(self, _: object) -> None:
        self._below_marks.append(self._stack)
        self._stack = []

    def pop(self, _: object) -> None:
        self._pop()

    def pop_mark(self, _: object) -> None:
        self._pop_to_mark()

    def put(self, index: object) -> None:
        value = self._pop()
        self._memo[index if isinstance(index, int) else len(self._memo)] = value
        self._stack.append(value)

    def get(self, index: object) -> None:
        if not isinstance(index, int) or index not in self._memo:
            raise RefusedError(f"it recalls the value {quoted(index)}, which it never stored")
        self._stack.append(self._memo[index])

    def empty_list(self, _: object) -> None:
        self._stack.append([])

    def empty_dict(self, _: object) -> None:
        self._stack.append({})

    def short_tuple(self, length: int) -> None:
        items = [self._pop() for _ in range(length)]
        self._stack.append(tuple(reversed(items)))

    def marked_tuple(self, _: object) -> None:
        items = self._pop_to_mark()
        self._stack.append(tuple(items))

    def append(self, _: object) -> None:
        self._extend([self._pop()])

    def appends(self, _: object) -> None:
        self._extend(self._pop_to_mark())

    def set_item(self, _: object) -> None:
        value, key = self._pop(), self._pop()
        self._update([key, value])

    def set_items(self, _: object) -> None:
        self._update(self._pop_to_mark())

    def _extend(self, items: list[object]) -> None:
        target = self._pop()
        if not isinstance(target, list):
            raise RefusedError(f"it appends to {quoted(target)}")
        target.extend(items)
        self._stack.append(target)

    def _update(self, items: list[object]) -> None:
        target = self._pop()
        if not isinstance(target, dict) or len(items) % 2:
            raise RefusedError(f"it sets {len(items)} keys and values of {quoted(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):
                raise RefusedError(f"it uses {quoted(key)} as the key of a dict")
            target[key] = value
        self._stack.append(target)

    def name(self, text: object) -> None:
        """GLOBAL: "module attribute" in one string."""
        self._stack.append(known_name(str(text)))

    def stack_name(self, _: object) -> None:
        """STACK_GLOBAL: module and attribute lie on the stack."""
        attribute, module = self._pop(), self._pop()
        if not isinstance(attribute, str) or not isinstance(module, str):
            raise RefusedError(f"it asks for the attribute {quoted(attribute)} of {quoted(module)}")
        self.name(f"{module} {attribute}")

    def persistent_id(self, _: object) -> None:
        """BINPERSID: the pickle refers to something beside it."""
        self._stack.append(storage(self._pop()))

    def build(self, _: object) -> None:
        """BUILD: torch hangs `_metadata` on a state dict in this way; it is dropped."""
        state, target = self._pop(), self._pop()
        if not isinstance(target, OrderedPairs) or not isinstance(state, dict):
            raise RefusedError(f"it sets the inner state of {quoted(target)} to {quoted(state)}")
        self._stack.append(target)

    def reduce(self, _: object) -> None:
        """REDUCE: elsewhere the call of any function; here one of four constructions."""
        arguments, function = self._pop(), self._pop()
        self._stack.append(constructed(function, arguments, self._make_tensor))


_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_IGNORED = {"PROTO", "FRAME", "STOP"}
_ACTIONS: dict[str, Callable[[_Machine, object], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "EMPTY_LIST": _Machine.empty_list,
    "EMPTY_DICT": _Machine.empty_dict,
    "TUPLE": _Machine.marked_tuple,
    "TUPLE1": lambda machine, _: machine.short_tuple(1),
    "TUPLE2": lambda machine, _: machine.short_tuple(2),
    "TUPLE3": lambda machine, _: machine.short_tuple(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "BINPERSID": _Machine.persistent_id,
    "BUILD": _Machine.build,
    "REDUCE": _Machine.reduce,
}
