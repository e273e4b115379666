"""The recordings that a command line names, and the files that come of them."""

import glob
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from stagewhisper.errors import AudioError, OptionError


@dataclass(frozen=True)
class Recording:
    """One input: a file, or standard input."""

    name: str
    """As the user knows it."""
    stem: str
    """Its outputs are called this plus the format."""
    path: Path | None
    """None for standard input."""

    def source(self) -> Path | IO[bytes]:
        """What the library reads: the path, or the open standard input."""
        return sys.stdin.buffer if self.path is None else self.path


@dataclass(frozen=True)
class Output:
    """A file to write."""

    format: str
    path: Path


def find_recordings(names: Sequence[str]) -> tuple[list[Recording], list[AudioError]]:
    """The recordings in the order of their `names`, each file once, and an error for each name without a file.

    A name is a path, `-` for standard input, or a pattern such as `talks/*.wav` that the shell left as it was.
    """
    found: list[Recording] = []
    errors: list[AudioError] = []
    for name in names:
        try:
            found += [_standard_input()] if name == "-" else [_from_file(path) for path in _matching(name)]
        except AudioError as error:
            errors.append(error)
    return list(dict.fromkeys(found)), errors


STANDARD_INPUT = Recording(name="standard input", stem="stdin", path=None)


def _standard_input() -> Recording:
    if sys.stdin is None or sys.stdin.isatty():
        state = "closed" if sys.stdin is None else "a terminal"
        raise AudioError(f"- stands for standard input, which is {state}. Pipe a recording into it, or name a file.")
    return STANDARD_INPUT


def _from_file(path: str) -> Recording:
    return Recording(name=path, stem=Path(path).stem, path=Path(path))


def _matching(name: str) -> list[str]:
    # A file may have brackets in its name: what exists is never read as a pattern.
    if os.path.isdir(name):  # noqa: PTH112 - Path.is_dir would raise for a name that no file can have
        example = os.path.join(name, "*")  # noqa: PTH118 - Path would take the "./" away
        raise AudioError(f"{name!r} is a folder. Name the recordings in it, all of them with {example!r}.")
    if os.path.lexists(name):
        return [name]
    if not glob.has_magic(name):
        raise AudioError(f"{name!r} does not exist. Name a recording, or a pattern such as '*.wav'.")
    # glob.glob, since Path.glob takes no absolute patterns and spells its results anew.
    matches = sorted(path for path in glob.glob(name, recursive=True) if not Path(path).is_dir())  # noqa: PTH207
    if not matches:
        raise AudioError(f"No file matches {name!r}. Check the folder and the extension.")
    return matches


def plan_outputs(
    recordings: Sequence[Recording], *, folder: Path, formats: Sequence[str]
) -> dict[Recording, list[Output]]:
    """For each recording the files to write.

    Raises:
        OptionError: two recordings would be written to one file, or a recording would be overwritten.
    """
    planned = {
        recording: [Output(name, folder / f"{recording.stem}.{name}") for name in formats] for recording in recordings
    }
    owners = {_same_file(r.path): r for r in recordings if r.path is not None}
    for recording, outputs in planned.items():
        for output in outputs:
            _claim(output.path, recording, owners)
    return planned


def make_folder(folder: Path) -> None:
    """Makes the output folder, and those above it, where they are not there.

    Raises:
        OptionError: it cannot be made or takes no files; better known now than after an hour of decoding.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"Cannot make the folder {str(folder)!r}: {error.strerror}. Choose another --output-dir."
        ) from error
    import tempfile

    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OptionError(
            f"Cannot write to the folder {str(folder)!r}: {error.strerror}. "
            "Choose another --output-dir, or make room or give write permission there."
        ) from error


def _claim(path: Path, recording: Recording, owners: dict[str, Recording]) -> None:
    owner = owners.setdefault(_same_file(path), recording)
    if owner.path is not None and _same_file(owner.path) == _same_file(path):
        raise OptionError(
            f"The recording {owner.name!r} would be overwritten by the transcript {str(path)!r}. "
            "Choose another --output-dir."
        )
    if owner is not recording:
        raise OptionError(
            f"{owner.name!r} and {recording.name!r} would both be written to {str(path)!r}. "
            "Rename one, or run them one by one with different --output-dir."
        )


def _same_file(path: Path) -> str:
    """A key that is equal for the spellings of one file."""
    return os.path.normcase(os.path.realpath(path))
