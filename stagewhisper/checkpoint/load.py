"""Open a checkpoint in whatever form it comes."""

from pathlib import Path

from stagewhisper.checkpoint.checkpoint import Checkpoint
from stagewhisper.checkpoint.huggingface import open_huggingface
from stagewhisper.checkpoint.huggingface_config import CONFIG_FILE
from stagewhisper.checkpoint.openai import open_openai
from stagewhisper.errors import CheckpointError

_FORMS = "Expected a Hugging Face folder with config.json, an OpenAI .pt file, or a folder with one .pt file."


def load_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at `path`: a Hugging Face folder, an OpenAI `.pt` file, or a folder with exactly one.

    Every expected tensor is checked by the files' headers; no weight is read and no pickle is run.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged, hostile or not a Whisper; the message
            names the tensor, the file or the field.
    """
    try:
        return _open_folder(path) if path.is_dir() else _open_file(path)
    except OSError as error:  # such as a folder that may not be listed, or a disk that fails
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error


def _open_file(path: Path) -> Checkpoint:
    if not path.is_file():
        raise CheckpointError(f"{path} is not there. {_FORMS}")
    if path.suffix == ".safetensors":
        raise CheckpointError(f"{path} is only a part of a checkpoint. Give its folder, which has config.json.")
    return open_openai(path, pt_file=path, tokenizer_file=None)


def _open_folder(folder: Path) -> Checkpoint:
    if (folder / CONFIG_FILE).is_file():
        return open_huggingface(folder)
    pt_files = sorted(folder.glob("*.pt"))
    if len(pt_files) != 1:
        raise CheckpointError(f"{folder} holds no {CONFIG_FILE} and {len(pt_files)} .pt files. {_FORMS}")
    tokenizer_file = folder / "tokenizer.json"
    return open_openai(
        folder,
        pt_file=pt_files[0],
        tokenizer_file=tokenizer_file if tokenizer_file.is_file() else None,
    )
