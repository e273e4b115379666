"""The graph passes: one file, one function, which edits a graph in place and returns how often it rewrote."""

from collections.abc import Callable

from stagewhisper.registry import Registry

PASSES: Registry[Callable[..., int]] = Registry(
    "pass",
    {
        # name: "stagewhisper.compiler.passes.<name>:<name>", sorted
        "broadcast_tile": "stagewhisper.compiler.passes.broadcast_tile:broadcast_tile",
        "eliminate_common_subexpressions": (
            "stagewhisper.compiler.passes.eliminate_common_subexpressions:eliminate_common_subexpressions"
        ),
        "eliminate_transposes": "stagewhisper.compiler.passes.eliminate_transposes:eliminate_transposes",
        "fold_constants": "stagewhisper.compiler.passes.fold_constants:fold_constants",
        "fuse_slice_concat": "stagewhisper.compiler.passes.fuse_slice_concat:fuse_slice_concat",
        "make_kv_cache_static": "stagewhisper.compiler.passes.make_kv_cache_static:make_kv_cache_static",
        "quantize_blockwise": "stagewhisper.compiler.passes.quantize_blockwise:quantize_blockwise",
        "quantize_dynamic": "stagewhisper.compiler.passes.quantize_dynamic:quantize_dynamic",
        "remove_dead_nodes": "stagewhisper.compiler.passes.remove_dead_nodes:remove_dead_nodes",
    },
    plural="passes",
)
"""Passes by name; other packages add theirs under the entry-point group `stagewhisper.passes`."""

__all__ = ["PASSES"]
