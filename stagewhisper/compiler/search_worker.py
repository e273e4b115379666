"""The process in which a search measures: it reads a task from standard input, and writes one line of JSON.

{"what": "times", "paths": [reference, bundle], "threads": 1}   ─►  {"encoder": {"ratio": …}, "prompt": …, …}
{"what": "memory", "paths": [bundle], "threads": 1}             ─►  {"bytes": …}
"""

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stagewhisper.bundle import Bundle, read_bundle
from stagewhisper.compiler.profile_inputs import Call, call_inputs
from stagewhisper.compiler.search_latency import N_PROMPT, interleaved, step_positions, timed_call
from stagewhisper.compiler.sessions import open_session, value_of
from stagewhisper.errors import CompilerError, StagewhisperError
from stagewhisper.process_memory import peak_bytes

_ALIASES = "stagewhisper.aliases"  # the pass manager's note: which outputs are written over which inputs


def main() -> int:
    """The exit code: 0, or 2 with the reason on standard error."""
    task = json.loads(sys.stdin.read())
    try:
        bundles = [read_bundle(Path(path)) for path in task["paths"]]
        found = times(bundles, task["threads"]) if task["what"] == "times" else memory(bundles[0], task["threads"])
    except StagewhisperError as error:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        return 2
    sys.stdout.write(f"{json.dumps(found)}\n")
    return 0


def times(bundles: Sequence[Bundle], threads: int | None) -> dict[str, dict[str, float]]:
    """What `interleaved` gives, by phase."""
    found = {}
    for graph, phases in _phases(min(bundle.dims.n_text_ctx for bundle in bundles)).items():
        # The threads of a session that is not called must not keep the cores of the other one busy.
        sessions = [_open(bundle, graph, threads=threads, is_alone=False) for bundle in bundles]
        for name, call in phases.items():
            pairs = zip(sessions, bundles, strict=True)
            found[name] = interleaved([_caller(session, call, bundle) for session, bundle in pairs])
    return found


def memory(bundle: Bundle, threads: int | None) -> dict[str, int]:
    """The peak after the encoder, a prompt and the last step of a window, both graphs loaded."""
    phases = _phases(bundle.dims.n_text_ctx)
    sessions = {graph: _open(bundle, graph, threads=threads, is_alone=True) for graph in phases}
    for graph, calls in phases.items():
        for call in calls.values():
            _caller(sessions[graph], call, bundle)()
    return {"bytes": _peak()}


def _phases(n_text_ctx: int) -> dict[str, dict[str, Call]]:
    """The calls of each graph, by name."""
    steps = {f"step {place}": Call(n_audio=1, n_seq=1, n_new=1, n_past=place) for place in step_positions(n_text_ctx)}
    return {
        "encoder": {"encoder": Call(n_audio=1, n_seq=1, n_new=0, n_past=0)},
        "decoder": {"prompt": Call(n_audio=1, n_seq=1, n_new=min(N_PROMPT, n_text_ctx), n_past=0), **steps},
    }


def _open(bundle: Bundle, graph: str, *, threads: int | None, is_alone: bool) -> Any:
    return open_session(bundle.path / f"{graph}.onnx", threads=threads, is_alone=is_alone)


def _caller(session: Any, call: Call, bundle: Bundle) -> Any:
    inputs = call_inputs(session.get_inputs(), call, n_vocab=bundle.dims.n_vocab)
    values = {name: value_of(array) for name, array in inputs.items()}
    return partial(timed_call, session, values, _aliases(session))


def _aliases(session: Any) -> Mapping[str, str]:
    noted: dict[str, str] = json.loads(session.get_modelmeta().custom_metadata_map.get(_ALIASES, "{}"))
    return noted


def _peak() -> int:
    peak = peak_bytes()
    if peak is None:
        raise CompilerError("memory_mb cannot be measured on this system. Leave that evaluator out.")
    return peak


if __name__ == "__main__":
    sys.exit(main())
