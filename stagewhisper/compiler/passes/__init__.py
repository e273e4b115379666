"""The graph passes: one file, one function, which edits a graph in place and returns how often it rewrote."""

from collections.abc import Callable

from stagewhisper.registry import Registry

PASSES: Registry[Callable[..., int]] = Registry(
    "pass",
    {
        # name: "stagewhisper.compiler.passes.<name>:<name>", sorted
        "absorb_attention_scale": "stagewhisper.compiler.passes.absorb_attention_scale:absorb_attention_scale",
        "balance_layer_norm": "stagewhisper.compiler.passes.balance_layer_norm:balance_layer_norm",
        "broadcast_tile": "stagewhisper.compiler.passes.broadcast_tile:broadcast_tile",
        "convert_to_fp16": "stagewhisper.compiler.passes.convert_to_fp16:convert_to_fp16",
        "convolution_to_matmul": "stagewhisper.compiler.passes.convolution_to_matmul:convolution_to_matmul",
        "decoder_masked_attention": "stagewhisper.compiler.passes.decoder_masked_attention:decoder_masked_attention",
        "eliminate_common_subexpressions": (
            "stagewhisper.compiler.passes.eliminate_common_subexpressions:eliminate_common_subexpressions"
        ),
        "eliminate_transposes": "stagewhisper.compiler.passes.eliminate_transposes:eliminate_transposes",
        "fold_constants": "stagewhisper.compiler.passes.fold_constants:fold_constants",
        "fuse_attention": "stagewhisper.compiler.passes.fuse_attention:fuse_attention",
        "fuse_bias_gelu": "stagewhisper.compiler.passes.fuse_bias_gelu:fuse_bias_gelu",
        "fuse_cross_attention": "stagewhisper.compiler.passes.fuse_cross_attention:fuse_cross_attention",
        "fuse_gelu": "stagewhisper.compiler.passes.fuse_gelu:fuse_gelu",
        "fuse_layer_norm": "stagewhisper.compiler.passes.fuse_layer_norm:fuse_layer_norm",
        "fuse_skip_layer_norm": "stagewhisper.compiler.passes.fuse_skip_layer_norm:fuse_skip_layer_norm",
        "fuse_slice_concat": "stagewhisper.compiler.passes.fuse_slice_concat:fuse_slice_concat",
        "group_query_attention": "stagewhisper.compiler.passes.group_query_attention:group_query_attention",
        "last_position_logits": "stagewhisper.compiler.passes.last_position_logits:last_position_logits",
        "make_kv_cache_static": "stagewhisper.compiler.passes.make_kv_cache_static:make_kv_cache_static",
        "normalise_export": "stagewhisper.compiler.passes.normalise_export:normalise_export",
        "pack_qkv": "stagewhisper.compiler.passes.pack_qkv:pack_qkv",
        "quantize_attention": "stagewhisper.compiler.passes.quantize_attention:quantize_attention",
        "quantize_blockwise": "stagewhisper.compiler.passes.quantize_blockwise:quantize_blockwise",
        "quantize_cross_kv": "stagewhisper.compiler.passes.quantize_cross_kv:quantize_cross_kv",
        "quantize_dynamic": "stagewhisper.compiler.passes.quantize_dynamic:quantize_dynamic",
        "quantize_static": "stagewhisper.compiler.passes.quantize_static:quantize_static",
        "remove_dead_nodes": "stagewhisper.compiler.passes.remove_dead_nodes:remove_dead_nodes",
    },
    plural="passes",
)
"""Passes by name; other packages add theirs under the entry-point group `stagewhisper.passes`."""

__all__ = ["PASSES"]
