import copyreg
import json
import os
import pickle
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.checkpoint.pickle_reader import read_pickle
from stagewhisper.errors import CheckpointError
from tests.checkpoint.torch_archives import archive_entries, rewrite_archive, small_dims, write_archive
from tests.checkpoints import huggingface_config, random_whisper

EXTENSION_CODE = 0xF0


class _Call:
    """Pickled, it asks the reader to call `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


def _touch(marker: Path) -> str:
    return f"touch {marker}"


def _by_reduce(function: Callable[..., Any], protocol: int) -> Callable[[Path], bytes]:
    return lambda marker: pickle.dumps(_Call(function, _touch(marker)), protocol)


def _python(function: Callable[..., Any]) -> Callable[[Path], bytes]:
    return lambda marker: pickle.dumps(_Call(function, f"open({str(marker)!r}, 'w').close()"), 2)


def _nested_in_dims(marker: Path) -> bytes:
    dims = small_dims().to_dict() | {"n_mels": _Call(os.system, _touch(marker))}
    return pickle.dumps({"dims": dims, "model_state_dict": {}}, 2)


def _as_dict_key(marker: Path) -> bytes:
    return pickle.dumps({_Call(os.system, _touch(marker)): 1}, 2)


def _by_setstate(marker: Path) -> bytes:
    """BUILD plants os.system as __setstate__, and the next BUILD calls it."""
    plant = b"cargparse\nNamespace\n)\x81}S'__setstate__'\ncos\nsystem\nsb"
    return b"\x80\x02" + plant + f"S'{_touch(marker)}'\nb.".encode()


def _by_inst(marker: Path) -> bytes:
    return f"(S'{_touch(marker)}'\nios\nsystem\n.".encode()


def _by_obj(marker: Path) -> bytes:
    return f"(cos\nsystem\nS'{_touch(marker)}'\no.".encode()


def _by_class(marker: Path) -> bytes:
    """REDUCE calls a class, whose constructor does the harm."""
    return pickle.dumps(_Call(subprocess.Popen, ["touch", str(marker)]), 4)


def _by_extension_code(marker: Path) -> bytes:
    return b"\x80\x02\x82" + bytes([EXTENSION_CODE]) + f"S'{_touch(marker)}'\n".encode() + b"\x85R."


def _by_memo(marker: Path) -> bytes:
    return b"\x80\x02cos\nsystem\nq\x000h\x00" + f"S'{_touch(marker)}'\n".encode() + b"\x85R."


EXPLOITS: dict[str, Callable[[Path], bytes]] = {
    **{f"os.system, protocol {protocol}": _by_reduce(os.system, protocol) for protocol in range(6)},
    "subprocess.getoutput": _by_reduce(subprocess.getoutput, 4),
    "builtins.exec": _python(exec),
    "builtins.eval": _python(eval),
    "nested in dims": _nested_in_dims,
    "as a dict's key": _as_dict_key,
    "__setstate__ by BUILD": _by_setstate,
    "INST": _by_inst,
    "OBJ": _by_obj,
    "a class": _by_class,
    "an extension code": _by_extension_code,
    "by way of the memo": _by_memo,
}


@pytest.fixture
def _system_as_extension() -> Iterator[None]:
    copyreg.add_extension("os", "system", EXTENSION_CODE)
    yield
    copyreg.remove_extension("os", "system", EXTENSION_CODE)


@pytest.mark.usefixtures("_system_as_extension")
@pytest.mark.parametrize("name", EXPLOITS)
def test_an_exploit_that_python_would_run_is_refused_and_does_nothing(tmp_path, name):
    marker = tmp_path / "marker"
    payload = EXPLOITS[name](marker)
    _run_it(payload)
    assert marker.exists(), "the exploit must work where it meets Python's own pickle"
    marker.unlink()

    for path in _disguises(tmp_path, payload):
        with pytest.raises(CheckpointError, match=r"refused, and nothing in it was run: it (uses|asks|calls)"):
            load_checkpoint(path)
        assert not marker.exists()


def _run_it(payload: bytes) -> None:
    try:
        result = pickle.loads(payload)
    except (TypeError, AttributeError):
        return  # after the call: its result did not fit what the exploit pretends to be
    if isinstance(result, subprocess.Popen):
        result.wait()


def _disguises(folder: Path, payload: bytes) -> Iterator[Path]:
    yield write_archive(folder / "x.pt", payload)
    huggingface = folder / "hf"
    huggingface.mkdir()
    (huggingface / "config.json").write_text(json.dumps(huggingface_config(small_dims())))
    write_archive(huggingface / "pytorch_model.bin", payload)
    yield huggingface


def test_an_exploit_hidden_in_a_good_checkpoint_is_refused(tmp_path):
    marker = tmp_path / "marker"
    weights = random_whisper(small_dims()).state_dict()
    torch.save(
        {"dims": small_dims().to_dict(), "model_state_dict": weights, "x": _Call(os.system, _touch(marker))},
        tmp_path / "x.pt",
    )
    with pytest.raises(CheckpointError, match=r"asks for '(posix|nt)\.system'"):
        load_checkpoint(tmp_path / "x.pt")
    assert not marker.exists()


def _refuse_tensors(*_: object) -> object:
    raise AssertionError("no tensor was described")


def _read(data: bytes) -> object:
    return read_pickle(data, make_tensor=_refuse_tensors, source="x.pt")


@pytest.mark.parametrize("value", [{"a": [1, -5, 2.5, None, True, "é"], "b": ((), (1,), (1, 2, 3, 4))}, [], 2**40])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_is_what_pickle_makes_of_it(value, protocol):
    assert _read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "broken pickle"),
        (b"\x80\x02}", "broken pickle"),
        (b"\x80\x02\xff.", "broken pickle"),
        (b"\x80\x02X\xff\xff\xff\xff.", "broken pickle"),
        (b"\x80\x02.", "single value"),
        (b"\x80\x02NN.", "single value"),
        (b"\x80\x02(N.", "single value"),
        (b"\x80\x020.", "empty stack"),
        (b"\x80\x02t.", "mark that it did not set"),
        (b"\x80\x02h\x07.", "recalls the value 7"),
        (b"\x80\x02NNNs.", "sets 2 keys"),
        (b"\x80\x02}(Nu.", "sets 1 keys"),
        (b"\x80\x02}]Ns.", r"uses \[\] as the key"),
        (b"\x80\x02NNa.", "appends to None"),
        (b"\x80\x02}}b.", r"inner state of \{\}"),
        (b"\x80\x02NQ.", "refers to None outside"),
        (b"\x80\x02ccollections\nOrderedDict\n(]tR.", "calls 'collections OrderedDict'"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "builds a tensor from"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "calls 'torch FloatStorage'"),
        (b"\x80\x04K\x01K\x02\x93.", "asks for the attribute 2 of 1"),
        (b"\x80\x02NNR.", "calls None with None"),
        (b"Pfile\n.", "PERSID with b'file"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
    ],
)
def test_a_malformed_pickle_is_refused_with_its_reason(data, reason):
    with pytest.raises(CheckpointError, match=reason):
        _read(data)


def _nested(n_levels: int) -> bytes:
    return b"\x80\x02)" + b"\x85" * n_levels + b"."


def _doubled(n_levels: int) -> bytes:
    """Steps that leave a list of twice a list of twice a list …: 2^n_levels items if written out."""
    steps = b"]q\x000"
    for level in range(n_levels):
        inner = b"h" + bytes([level])
        steps += b"](" + inner + inner + b"eq" + bytes([level + 1]) + b"0"
    return steps + b"h" + bytes([n_levels])


_IN_ORDERED_DICT = b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00a" + _doubled(200) + b"u"

BOMBS = {
    "fifty thousand levels": _nested(50_000),
    "more steps than any checkpoint": b"\x80\x02" + b"N0" * 100_001 + b"N.",
    "doubling": b"\x80\x02" + _doubled(200) + b".",
    "doubling inside an OrderedDict": _IN_ORDERED_DICT + b".",
    "doubling inside what a message quotes": _IN_ORDERED_DICT + b"Na.",
    "doubling inside an argument": b"\x80\x02ctorch\nFloatStorage\n" + _doubled(200) + b"\x85R.",
    "a dict that holds itself": b"\x80\x02}q\x00(X\x01\x00\x00\x00dh\x00u.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_quickly(tmp_path, name):
    path = write_archive(tmp_path / "x.pt", BOMBS[name])
    start = time.monotonic()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert len(str(caught.value)) < 1000
    assert time.monotonic() - start < 30  # without type checks under 1 s; the doubled lists would take for ever


def test_a_tensor_that_claims_more_than_its_storage_is_refused(tmp_path):
    path = tmp_path / "x.pt"
    weights = random_whisper(small_dims()).state_dict()
    for forged in (
        torch.zeros(1).expand(8, 8),  # steps of 0: 64 elements out of one
        torch.zeros(8).expand(8, 8),
    ):
        name = "encoder.blocks.0.attn.query.weight"
        torch.save({"dims": small_dims().to_dict(), "model_state_dict": weights | {name: forged}}, path)
        with pytest.raises(CheckpointError, match=r"shape \(8, 8\).* does not fit its storage"):
            load_checkpoint(path)


@pytest.mark.parametrize(
    ("key", "content", "reason"),
    [
        ("x/data/0", b"\0" * 7, "storage '0' has 7 bytes; expected 96 × 4"),
        ("x/data/0", None, "lacks the entry 'data/0'"),
        ("x/byteorder", b"big", "little-endian"),
    ],
)
def test_storages_that_do_not_agree_with_the_pickle_are_refused(tmp_path, key, content, reason):
    path = tmp_path / "x.pt"
    weights = {"encoder.conv1.weight": torch.zeros(8, 4, 3)}
    torch.save({"dims": small_dims().to_dict(), "model_state_dict": weights}, path)
    entries: dict[str, Any] = archive_entries(path) | {key: content}
    rewrite_archive(path, {name: data for name, data in entries.items() if data is not None})
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(path)
