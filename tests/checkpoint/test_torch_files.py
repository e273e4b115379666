import pickle
import warnings
import zipfile

import pytest
import torch

from stagewhisper.checkpoint import load_checkpoint
from stagewhisper.errors import CheckpointError
from tests.checkpoint.torch_archives import archive_entries, rewrite_archive, save_small, small_dims, write_archive


def _refused(path, reason):
    with pytest.raises(CheckpointError, match=reason):
        load_checkpoint(path)


def test_the_format_from_before_the_zip_asks_to_save_again(tmp_path):
    content = {"dims": small_dims().to_dict(), "model_state_dict": {}}
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    _refused(tmp_path / "x.pt", "bare pickle.*Save it again")
    (tmp_path / "y.pt").write_bytes(pickle.dumps(content))
    _refused(tmp_path / "y.pt", "bare pickle.*Save it again")


def test_a_torchscript_program_asks_for_a_checkpoint(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of TorchScript
        torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "x.pt")
    _refused(tmp_path / "x.pt", "TorchScript")


@pytest.mark.parametrize("entry", ["x/data.pkl", "x/data/0"])
def test_a_compressed_entry_is_refused_unread(tmp_path, entry):
    path = save_small(tmp_path / "x.pt")
    entries = archive_entries(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            method = zipfile.ZIP_DEFLATED if name == entry else zipfile.ZIP_STORED
            archive.writestr(name, content, method)
    _refused(path, f"'{entry.removeprefix('x/')}' is compressed")


def test_an_encrypted_entry_is_refused(tmp_path):
    path = save_small(tmp_path / "x.pt")
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02")  # the directory's first record, that of data.pkl; its flags lie 8 bytes on
    data[start + 8] |= 1
    path.write_bytes(data)
    _refused(path, "'data.pkl' is encrypted")


def test_two_entries_of_one_name_are_refused(tmp_path):
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile wonders about the repeated name, which is the point
        archive.writestr("x/data.pkl", b"\x80\x02}.")
        archive.writestr("x/data.pkl", b"\x80\x02N.")
    _refused(path, "two entries of one name")


@pytest.mark.parametrize(
    "names", [["x/other"], ["data.pkl"], ["a/data.pkl", "b/data.pkl"], ["a/b/data.pkl"], ["../x/data.pkl"]]
)
def test_a_zip_without_exactly_one_pickle_in_its_folder_is_refused(tmp_path, names):
    path = rewrite_archive(tmp_path / "x.pt", dict.fromkeys(names, b"\x80\x02}."))
    _refused(path, "entries named data.pkl; expected one")


def test_a_pickle_that_does_not_match_its_checksum_is_refused(tmp_path):
    path = save_small(tmp_path / "x.pt")
    data = bytearray(path.read_bytes())
    data[data.index(b"n_text_ctx")] ^= 1
    path.write_bytes(data)
    _refused(path, "does not match its checksum")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\0" * 1000, "is not a file of torch.save"),
        (b"just text", "is not a file of torch.save"),
        (b"PK\x03\x04" + b"\0" * 500, "damaged zip file"),
    ],
)
def test_other_files_are_refused(tmp_path, content, reason):
    (tmp_path / "x.pt").write_bytes(content)
    _refused(tmp_path / "x.pt", reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], r"holds \[\]; expected a dict with dims and model_state_dict"),
        ({"encoder.conv1.weight": 1}, "holds .'encoder.conv1.weight'.; expected a dict with dims"),
        ({"dims": {}, "model_state_dict": {}}, '"dims": The dims lack n_mels'),
        ({"dims": small_dims().to_dict(), "model_state_dict": {"a": 1}}, "state dict holds 'a': 1"),
        ({"dims": small_dims().to_dict(), "model_state_dict": {1: 1}}, "state dict holds 1: 1"),
        ({"dims": small_dims().to_dict(), "model_state_dict": {}}, "lacks the tensor encoder.conv1.weight"),
    ],
)
def test_a_pickle_of_something_else_says_what_it_holds(tmp_path, content, reason):
    _refused(write_archive(tmp_path / "x.pt", pickle.dumps(content, 2)), reason)
