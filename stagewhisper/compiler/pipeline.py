"""The passes that every compiled model goes through, in order: read this first.

    simplify ─► fuse ─► lay out caches and weights ─► clean up

Each is exact: float32 in, float32 out, the same numbers within rounding. Quantisation comes after them, from a recipe.
"""

from stagewhisper.compiler.steps import PassStep

FP32: tuple[PassStep, ...] = (
    PassStep("make_kv_cache_static"),
    PassStep("broadcast_tile"),
    PassStep("group_query_attention"),
    PassStep("fuse_attention"),
    PassStep("pack_qkv"),
)
"""For encoder and decoder alike; a pass that finds nothing to do in one of them says 0."""
