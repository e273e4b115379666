"""Checkpoints in, bundles out: graphs that ONNX Runtime runs, written straight from the weights."""

from stagewhisper.compiler.compile import compile_checkpoint, compiled, default_cache_dir

__all__ = ["compile_checkpoint", "compiled", "default_cache_dir"]
