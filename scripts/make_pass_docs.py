"""Write docs/passes.md: what every pass of the compiler says about itself, word for word."""

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

from stagewhisper.compiler.pipeline import FP32

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "passes.md"
PASSES = ROOT / "stagewhisper" / "compiler" / "passes"
_INTRODUCTION = """\
# The compiler's passes

<!-- Written by scripts/make_pass_docs.py from the passes' docstrings. Do not edit. -->

A pass edits a graph in place and returns how often it rewrote. After each one the graph is checked, and its numbers are
compared with those before it. Every recipe with `include: pipeline` goes through these, in this order:
"""


def pass_page() -> str:
    """The text of docs/passes.md."""
    files = sorted(file for file in PASSES.glob("*.py") if file.stem != "__init__")
    order = ", ".join(f"[{step.name}](#{step.name})" for step in FP32)
    return "\n".join([_INTRODUCTION, f"{order}.\n", *(_section(file) for file in files)])


def _section(file: Path) -> str:
    module = ast.parse(file.read_text(encoding="utf-8"))
    function = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == file.stem)
    texts = [ast.get_docstring(module), ast.get_docstring(function)]
    if not all(texts):
        raise SystemExit(f"{file}: the file or its function has no docstring")
    parameters = [_parameter(argument, default) for argument, default in _keyword_only(function)]
    listed = f"Parameters: {', '.join(parameters)}.\n" if parameters else ""
    return (
        "\n".join([f"## {file.stem}\n", *(f"{_as_markdown(text or '')}\n" for text in texts), listed]).rstrip() + "\n"
    )


def _keyword_only(function: ast.FunctionDef) -> list[tuple[ast.arg, ast.expr | None]]:
    return list(zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True))


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    return f"`{argument.arg}{kind}{f' = {ast.unparse(default)}' if default else ''}`"


def _as_markdown(text: str) -> str:
    """The docstring, its indented drawings and lists as code blocks."""
    return "\n\n".join(
        f"```text\n{textwrap.dedent(block)}\n```" if is_drawn else block for is_drawn, block in _blocks(text) if block
    )


def _blocks(text: str) -> Iterator[tuple[bool, str]]:
    """The text in pieces that are indented, or are not; an empty line belongs to the piece before it."""
    is_drawn = False
    lines: list[str] = []
    for line in text.splitlines():
        if line and line.startswith("    ") != is_drawn:
            yield is_drawn, "\n".join(lines).strip("\n")
            is_drawn, lines = not is_drawn, []
        lines.append(line)
    yield is_drawn, "\n".join(lines).strip("\n")


if __name__ == "__main__":
    PAGE.write_text(pass_page(), encoding="utf-8", newline="\n")
