"""How an evaluation goes through its clips."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stagewhisper.errors import AudioError, DataSetError, OptionError
from stagewhisper.evaluation import Journal, beside_reference, evaluate, load_dataset, load_datasets, read_document
from stagewhisper.evaluation.items import FileAudio
from stagewhisper.evaluation.reference import require_common_clips
from tests.evaluation.planted import ANSWERS, FakeModel, segment, transcript, write_manifest


def records(*names: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"audio": name, "text": "one", **fields} for name in names]


def test_warming_up_is_done_once_on_one_window_and_counted_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    class SlowAtFirst(FakeModel):
        def transcribe(self, audio: Path | bytes, **options: Any) -> Any:
            clock[0] += 0.5 if self.calls else 60.0
            return super().transcribe(audio, **options)

    model = SlowAtFirst()
    found = evaluate(model, load_dataset(write_manifest(tmp_path, records("b.wav", "c.wav"))))
    assert [(name, options.get("clip_timestamps")) for name, options in model.calls] == [
        ("b.wav", (0.0, 30.0)),
        ("b.wav", None),
        ("c.wav", None),
    ]
    assert found.model["warm_up_elapsed"] == 60
    assert [clip.elapsed for clip in found.clips] == [0.5, 0.5]
    assert found.summary.rtf == 1 / 4


def test_the_language_is_detected_unless_it_is_forced(tmp_path: Path) -> None:
    dataset = load_dataset(write_manifest(tmp_path, [*records("e.wav", language="de"), *records("a.wav")]))
    model = FakeModel()
    evaluate(model, dataset)
    assert all("language" not in options for _, options in model.calls)
    model = FakeModel()
    evaluate(model, dataset, force_language=True)
    assert [options.get("language") for _, options in model.calls] == ["de", "de", None]


def test_a_model_that_knows_english_only_is_not_told_another_language(tmp_path: Path) -> None:
    model = FakeModel(is_multilingual=False)
    evaluate(model, load_dataset(write_manifest(tmp_path, records("e.wav", language="de"))), force_language=True)
    assert all("language" not in options for _, options in model.calls)


def test_a_clips_own_task_comes_first_and_a_translation_is_normalised_as_english(tmp_path: Path) -> None:
    manifest = [
        {"audio": "e.wav", "text": "It's colour", "language": "de", "task": task} for task in ("translate", None)
    ]
    model = FakeModel({"e.wav": transcript(segment(" It is color.", 0, 1), language="de")})
    found = evaluate(model, load_dataset(write_manifest(tmp_path, manifest)), task="transcribe")
    assert [options["task"] for _, options in model.calls] == ["translate", "translate", "transcribe"]
    assert [clip.words.n_errors for clip in found.clips] == [0, 2]  # basic rules: "it s colour", "it is color"
    assert [row.name for row in found.rows if row.by == "task"] == ["translate", "transcribe"]


def test_a_wrong_option_ends_the_evaluation(tmp_path: Path) -> None:
    model = FakeModel({"a.wav": OptionError("beam_size is 0.")})
    with pytest.raises(OptionError, match="beam_size"):
        evaluate(model, load_dataset(write_manifest(tmp_path)))


def test_a_wrong_option_ends_the_evaluation_before_anything_is_transcribed(tmp_path: Path) -> None:
    model = FakeModel()
    with pytest.raises(OptionError, match="beam_size"):
        evaluate(model, load_dataset(write_manifest(tmp_path)), beam_size=0)
    assert model.calls == []


def test_a_clips_own_language_that_the_model_does_not_know_is_that_clips_failure(tmp_path: Path) -> None:
    class WithoutCantonese(FakeModel):
        def transcribe(self, audio: Path | bytes, **options: Any) -> Any:
            if options.get("language") == "yue":
                raise OptionError("This model does not know 'yue'.")
            return super().transcribe(audio, **options)

    manifest = write_manifest(tmp_path, [*records("a.wav", language="yue"), *records("b.wav", language="en")])
    found = evaluate(WithoutCantonese(), load_dataset(manifest), force_language=True)
    assert [(failure.audio, failure.error) for failure in found.failures] == [
        ("a.wav", "This model does not know 'yue'.")
    ]
    assert [clip.audio for clip in found.clips] == ["b.wav"]


def test_a_recording_that_cannot_be_looked_for_is_that_clips_failure(tmp_path: Path) -> None:
    class Odd:
        def read(self) -> bytes:
            return b"b.wav"

        def stamp(self) -> str:
            raise ValueError("odd")

    dataset = load_dataset(write_manifest(tmp_path, records("a.wav", "b.wav")))
    odd = replace(dataset, items=(replace(dataset.items[0], source=Odd()), dataset.items[1]))
    found = evaluate(FakeModel(), odd, journal=Journal(tmp_path / "journal", model="m"))
    assert [failure.error for failure in found.failures] == ["ValueError: odd"]
    assert [clip.audio for clip in found.clips] == ["b.wav"]
    for name in ("a\0b", "a\ud800b"):  # no file system has them
        assert FileAudio(tmp_path / name).stamp() == str(tmp_path / name)


def test_a_failure_does_not_tell_where_the_data_set_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Careful(FakeModel):
        def transcribe(self, audio: Path | bytes, **options: Any) -> Any:
            assert isinstance(audio, Path)
            raise AudioError(f"There is no file {str(audio)!r}, which is {audio.resolve()}.")

    (tmp_path / "it's").mkdir()
    manifest = write_manifest(tmp_path / "it's", records("sub/none.wav"))
    monkeypatch.chdir(tmp_path)
    for path in (manifest, manifest.relative_to(tmp_path)):
        (failure,) = evaluate(Careful(), load_dataset(path)).failures
        assert "sub/none.wav" in failure.error
        assert "it's" not in failure.error
        assert str(tmp_path) not in failure.error


def test_an_unknown_normaliser_is_an_error_before_anything_is_transcribed(tmp_path: Path) -> None:
    model = FakeModel()
    with pytest.raises(OptionError, match=r"No normaliser named 'french'. Known: auto, english, basic, none"):
        evaluate(model, load_dataset(write_manifest(tmp_path)), normalizer="french")
    assert model.calls == []


def test_an_error_that_nobody_expected_is_a_failure_with_its_type(tmp_path: Path) -> None:
    model = FakeModel({**ANSWERS, "a.wav": RuntimeError("odd")})
    found = evaluate(model, load_dataset(write_manifest(tmp_path, records("a.wav", "b.wav"))))
    assert [failure.error for failure in found.failures] == ["RuntimeError: odd"]
    assert [clip.audio for clip in found.clips] == ["b.wav"]


def test_an_evaluation_of_failures_alone_has_no_rates(tmp_path: Path) -> None:
    found = evaluate(FakeModel({}), load_dataset(write_manifest(tmp_path)))
    assert (found.summary.n_clips, found.summary.n_failures) == (0, 7)
    assert found.summary.wer.rate is None
    assert found.summary.wer.interval is None
    assert found.summary.rtf is None


def test_a_clip_with_times_but_without_text_is_not_within_them(tmp_path: Path) -> None:
    found = evaluate(
        FakeModel({"a.wav": transcript()}), load_dataset(write_manifest(tmp_path, records("a.wav", start=0, end=1)))
    )
    assert (found.summary.timing.n_judged, found.summary.timing.n_within) == (1, 0)
    assert found.summary.timing.median_error is None


def test_two_data_sets_of_one_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    path = write_manifest(tmp_path / "set", records("a.wav", "b.wav"))
    datasets = load_datasets([path, path], limit=1)
    assert [dataset.name for dataset in datasets] == ["set", "set-2"]
    found = evaluate(FakeModel(), datasets)
    assert [clip.id for clip in found.clips] == ["set/a.wav", "set-2/a.wav"]
    assert [row.name for row in found.rows if row.by == "dataset"] == ["set", "set-2"]


def test_a_recording_that_occurs_twice_gives_two_clips(tmp_path: Path) -> None:
    dataset = load_dataset(write_manifest(tmp_path, records("a.wav", "a.wav")))
    assert [item.id for item in dataset.items] == [f"{tmp_path.name}/a.wav", f"{tmp_path.name}/a.wav#2"]


def test_data_sets_that_share_clips_are_refused(tmp_path: Path) -> None:
    dataset = load_dataset(write_manifest(tmp_path))
    with pytest.raises(OptionError, match="share their names"):
        evaluate(FakeModel(), [dataset, dataset])


def test_a_clip_with_another_reference_text_is_not_compared(tmp_path: Path) -> None:
    earlier = evaluate(FakeModel(), load_dataset(write_manifest(tmp_path, records("a.wav", "b.wav")))).to_dict()
    earlier["clips"][0]["reference"] = "two"
    found = evaluate(FakeModel(), load_dataset(tmp_path))
    qoi = beside_reference(found, earlier).summary.qoi
    assert qoi is not None
    assert qoi.n_compared == 1
    with pytest.raises(DataSetError, match="none of these clips"):
        beside_reference(found, {**earlier, "clips": []})


def test_a_reference_without_common_clips_is_refused_before_anything_is_transcribed(tmp_path: Path) -> None:
    dataset = load_dataset(write_manifest(tmp_path, records("a.wav", "b.wav")))
    earlier = evaluate(FakeModel(), dataset).to_dict()
    require_common_clips([dataset], earlier, task="transcribe")
    require_common_clips([dataset], {**earlier, "clips": earlier["clips"][1:]}, task="transcribe")
    for other, task in [(earlier, "translate"), ({**earlier, "clips": []}, "transcribe")]:
        with pytest.raises(DataSetError, match="none of these clips"):
            require_common_clips([dataset], other, task=task)


@pytest.mark.parametrize(
    "text",
    ["", "[" * 200_000, "[]", '{"format": 99, "clips": [], "model": {}}', '{"format": 1, "clips": [{}]}'],
    ids=lambda text: text[:40],
)
def test_a_file_that_holds_no_results_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(DataSetError, match=r"results\.json"):
        read_document(path)


class TestResuming:
    """An interrupted evaluation goes on where it stopped."""

    NAMES = ("a.wav", "b.wav", "c.wav", "d.wav")

    def journal(self, folder: Path, model: str = "m") -> Journal:
        return Journal(folder / "cache" / "journal.jsonl", model=model)

    def interrupted(self, folder: Path) -> Path:
        """A journal of a run that Ctrl-C ended in the third clip."""
        manifest = write_manifest(folder, records(*self.NAMES))
        model = FakeModel({**ANSWERS, "c.wav": KeyboardInterrupt()})
        with pytest.raises(KeyboardInterrupt):
            evaluate(model, load_dataset(manifest), journal=self.journal(folder), beam_size=2)
        return manifest

    def heard(self, folder: Path, manifest: Path, *, model: str = "m", **options: Any) -> list[str]:
        fake = FakeModel()
        evaluate(fake, load_dataset(manifest), journal=self.journal(folder, model), **options)
        return fake.heard()

    def test_finished_clips_are_not_transcribed_again(self, tmp_path: Path) -> None:
        manifest = self.interrupted(tmp_path)
        assert self.heard(tmp_path, manifest, beam_size=2) == ["c.wav", "d.wav"]

    def test_the_numbers_are_those_of_a_run_without_interruption(self, tmp_path: Path) -> None:
        manifest = self.interrupted(tmp_path)
        resumed = evaluate(FakeModel(), load_dataset(manifest), journal=self.journal(tmp_path), beam_size=2)
        whole = evaluate(FakeModel(), load_dataset(manifest), beam_size=2)
        assert resumed.summary.wer == whole.summary.wer
        assert [clip.diff for clip in resumed.clips] == [clip.diff for clip in whole.clips]
        assert [clip.start_error for clip in resumed.clips] == [clip.start_error for clip in whole.clips]

    def test_other_options_start_anew(self, tmp_path: Path) -> None:
        manifest = self.interrupted(tmp_path)
        assert self.heard(tmp_path, manifest, beam_size=3) == list(self.NAMES)

    def test_another_model_starts_anew(self, tmp_path: Path) -> None:
        manifest = self.interrupted(tmp_path)
        assert self.heard(tmp_path, manifest, model="other", beam_size=2) == list(self.NAMES)

    def test_a_recording_that_has_changed_is_transcribed_again(self, tmp_path: Path) -> None:
        manifest = self.interrupted(tmp_path)
        (tmp_path / "a.wav").write_bytes(b"other")
        assert self.heard(tmp_path, manifest, beam_size=2) == ["a.wav", "c.wav", "d.wav"]

    def test_a_line_that_was_cut_off_is_passed_over_and_what_follows_is_kept(self, tmp_path: Path) -> None:
        manifest = self.interrupted(tmp_path)
        journal = tmp_path / "cache" / "journal.jsonl"
        journal.write_text(journal.read_text().rstrip()[:-20])
        assert self.heard(tmp_path, manifest, beam_size=2) == ["b.wav", "c.wav", "d.wav"]
        assert self.heard(tmp_path, manifest, beam_size=2) == []

    def test_failures_are_tried_again(self, tmp_path: Path) -> None:
        manifest = write_manifest(tmp_path, records("a.wav", "missing.wav"))
        assert self.heard(tmp_path, manifest) == ["a.wav", "missing.wav"]
        assert self.heard(tmp_path, manifest) == []  # the warm-up failed, so there was no second call
