"""Keep the cross-attention's keys and values in int8: a quarter of the bytes that every step reads anew.

    encoder
    before   k ─► Transpose ─► cross_k [n_audio, n_head, head_dim, n_frames]
    after    k ─► Div(scales) ─► QuantizeLinear ─► Transpose ─► cross_k int8 [n_audio, n_head, n_frames, head_dim]
             scales = largest |k| of each channel of a window / 127 ─► cross_k_scale
             the last frame of cross_k, as float32 ─► cross_k_last
             of cross_v, the mean of each channel is taken away before ─► cross_v_mean

    decoder
    before   q ─► MatMul(cross_k) ─► Softmax ─► MatMul(cross_v) ─► y
    after    q ─► Mul(cross_k_scale) ─► If one row to a window ─► Mul(cross_v_scale) ─► Add(cross_v_mean) ─► y
                   yes   GroupQueryAttention with cross_k and cross_v as its int8 cache
                   no    rows in uint8 ─► MatMulIntegerToFloat(Transpose(cross_k)) ─► Exp, in uint8
                         ─► MatMulIntegerToFloat(cross_v) ─► Div(sum of Exp)

Every window has scales of its own, one for each channel of each head, found by the encoder: no recording can exceed
what a calibration has seen, and windows of a batch do not influence each other. They multiply queries and outputs, so
that keys and values stay bare integers.

GroupQueryAttention knows no cross-attention. It is given all frames but the last as the past, and the last as the new
token, which it writes where it already stands: bind each `unchanged_cross_…` to its input (noted by
`graph_tools.alias`), and nothing is copied. Its kernel takes one row for a window, or many rows for one window. Many
rows (beams, prompts) are multiplied as integers: with keys and values made float32, five rows took nearly twice as long
and the prompts of eight windows four times as long.

The means: weights below 1/510 of their row's largest become 0 there, and what they lose is, by and large, an average
value. Without the mean, that is nothing.

Declines for graphs without pairs of cross_k_i and cross_v_i. Where a decoder attends in another form (beams that are
not folded into rows, weights that are read elsewhere), int8 is made float32 again at the top.
"""

import numpy as np
import onnx_ir as ir

from stagewhisper.compiler.contract import Arrays, declares
from stagewhisper.compiler.cross_attention import cross_pairs
from stagewhisper.compiler.cross_kv_given import give_int8
from stagewhisper.compiler.cross_kv_taken import take_int8
from stagewhisper.compiler.quantization import channel_scales

TOLERANCE = 0.02
"""Keys and values are off by half a step, 1/254 of the largest number; logits of nano were off by 0.009."""


def _quantize_inputs(inputs: Arrays, graph: ir.Graph) -> Arrays:
    """What the encoder gives now for what it gave before: integers, scales and last frames."""
    taken = {value.name or "": value for value in graph.inputs}
    made = dict(inputs)
    for name, array in inputs.items():
        kind, layer = _kind_and_layer(name)
        scale_name = f"cross_{kind}_scale_{layer}"
        if scale_name not in taken or array.dtype != np.float32:
            continue
        frames = _frames_axis(taken[scale_name].shape or ())
        if kind == "v":
            mean = array.mean(axis=frames, keepdims=True)
            made[f"cross_v_mean_{layer}"], array = mean, array - mean
        scales = channel_scales(array, axis=frames)
        integers = np.rint(array / scales).astype(np.int8)
        rows = np.ascontiguousarray(integers.swapaxes(2, 3) if frames == 3 else integers)
        made |= {name: rows, scale_name: scales}
        if f"cross_{kind}_last_{layer}" in taken:
            made[f"cross_{kind}_last_{layer}"] = rows[:, :, -1].astype(np.float32).reshape(len(rows), 1, -1)
    return made


def _dequantize_outputs(outputs: Arrays, inputs: Arrays) -> Arrays:  # noqa: ARG001  the signature of all adapters
    """Keys and values in float32 again, without what belongs to their int8 form."""
    made = {}
    for name, array in outputs.items():
        kind, layer = _kind_and_layer(name)
        if kind:
            scales = outputs[f"cross_{kind}_scale_{layer}"]
            mean = outputs[f"cross_v_mean_{layer}"] if kind == "v" else np.float32(0)
            made[name] = (array.swapaxes(2, 3) if _frames_axis(scales.shape) == 3 else array) * scales + mean
        elif "cross_" not in name:
            made[name] = array
    return made


def _kind_and_layer(name: str) -> tuple[str, str]:
    """("k", "3") of "cross_k_3"; ("", "") of any other name."""
    parts = name.split("_")
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == "cross" else ("", "")


def _frames_axis(scale_shape: ir.Shape | tuple[int, ...]) -> int:
    """The axis of frames before the pass: along it, there is one scale."""
    return 3 if len(scale_shape) == 4 and scale_shape[3] == 1 else 2


@declares(tolerance=TOLERANCE, adapt_inputs=_quantize_inputs, adapt_outputs=_dequantize_outputs)
def quantize_cross_kv(graph: ir.Graph, *, kernel: bool = True) -> int:
    """Make all cross_k and cross_v int8, where the encoder gives them or the decoder takes them; returns how many.

    `kernel=False` does without GroupQueryAttention: integers are made float32 in every call. Encoder and decoder must
    be compiled with the same choice.
    """
    given, taken = cross_pairs(graph.outputs), cross_pairs(graph.inputs)
    give_int8(graph, given, last_frames=kernel)
    take_int8(graph, taken, kernel=kernel)
    return 2 * (len(given) + len(taken))
