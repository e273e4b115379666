"""The roof of a roofline: how fast this machine multiplies matrices and reads memory, measured now.

The products run in ONNX Runtime, with the constant right side that Whisper's linear layers have, so that a phase is
held against what the same kernels reach at their best.

Source: Williams, Waterman, Patterson 2009, "Roofline: an insightful visual performance model".
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np

from stagewhisper.compiler.profile_results import MachineRates
from stagewhisper.compiler.sessions import open_session

_SHAPES = ((1024, 1024, 1024), (1500, 512, 2048))
"""(m, k, n): a square, and an encoder's wider linear layer; kernels differ in what suits them best."""
_BUFFER_BYTES = 256 << 20
"""Of what is read to measure bandwidth: several times the largest cache of common processors."""
_OPSET, _IR_VERSION = 20, 10


def machine_rates(*, threads: int, repeats: int = 9) -> MachineRates:
    """The best rates over a few shapes, each a median over `repeats` calls."""
    return MachineRates(
        fp32=max(_product_rate(*shape, is_int8=False, threads=threads, repeats=repeats) for shape in _SHAPES),
        int8=max(_product_rate(*shape, is_int8=True, threads=threads, repeats=repeats) for shape in _SHAPES),
        bandwidth=_bandwidth(threads=threads, repeats=repeats),
    )


def best_rates(first: MachineRates, second: MachineRates) -> MachineRates:
    """The higher of each: what else runs on a machine can only lower them."""
    return MachineRates(
        fp32=max(first.fp32, second.fp32),
        int8=max(first.int8, second.int8),
        bandwidth=max(first.bandwidth, second.bandwidth),
    )


def median_time(call: Callable[[], object], *, repeats: int) -> float:
    """Seconds that `call` takes, after one call that does not count."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return median(times)


def _product_rate(m: int, k: int, n: int, *, is_int8: bool, threads: int, repeats: int) -> float:
    random = np.random.default_rng(0)
    session = open_session(_product_graph(k, n, is_int8=is_int8), threads=threads)
    left = random.integers(0, 100, (m, k)).astype(np.uint8 if is_int8 else np.float32)
    return 2 * m * k * n / median_time(lambda: session.run(None, {"x": left}), repeats=repeats)


def _product_graph(k: int, n: int, *, is_int8: bool) -> bytes:
    """x [m, k] ─► MatMul with a constant [k, n] ─► y"""
    import onnx_ir as ir

    random = np.random.default_rng(1)
    weight = random.integers(-100, 100, (k, n)).astype(np.int8 if is_int8 else np.float32)
    constant = ir.Value(name="weight", const_value=ir.tensor(weight, name="weight"))
    x = ir.val("x", ir.DataType.UINT8 if is_int8 else ir.DataType.FLOAT, ["m", k])
    node = ir.node("MatMulInteger" if is_int8 else "MatMul", [x, constant])
    y = node.outputs[0]
    y.name, y.shape, y.dtype = "y", ir.Shape(["m", n]), ir.DataType.INT32 if is_int8 else ir.DataType.FLOAT
    graph = ir.Graph([x], [y], nodes=[node], initializers=[constant], opset_imports={"": _OPSET}, name="product")
    content: bytes = ir.to_proto(ir.Model(graph, ir_version=_IR_VERSION)).SerializeToString()
    return content


def _bandwidth(*, threads: int, repeats: int) -> float:
    """Bytes per second that so many threads read, each from its own part of one buffer."""
    buffer = np.ones(_BUFFER_BYTES // 4, np.float32)
    parts = np.array_split(buffer, threads)
    with ThreadPoolExecutor(threads) as pool:
        elapsed = median_time(lambda: list(pool.map(np.max, parts)), repeats=repeats)
    return buffer.nbytes / elapsed
