import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("num2words", reason="the grammar of training writes numbers with num2words")

from stagewhisper.errors import CheckpointError, DataSetError, OptionError
from tests.training.made_up import noise, utterance
from training import corpus, export, train
from training.corpus import Utterance, writing_corpus
from training.kinds import SINGLE
from training.run_folder import load_model
from training.schedule import WEIGHTS
from training.vocabulary import IGNORED
from training.windows import Windows

SPEAKERS = {"fsdd": ("fsdd-jackson", "fsdd-theo"), "an4": ("an4-1", "an4-2")}
SAID = [
    *(utterance("Seven.", source=source, speaker=who) for source, people in SPEAKERS.items() for who in people),
    *(
        utterance(text, language=code)
        for code, text in [("en", "Go."), ("es", "Alto."), ("de", "Los."), ("fr", "Six.")]
    ),
    noise(),
]
SMALL = ["--state", "64", "--audio-layers", "1", "--text-layers", "1"]

# A fork where torch has threads is warned of from Python 3.12 on, and one where JAX is loaded always.
# The worker that draws windows uses neither.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work folder whose corpus has a few utterances; windows come two at a time."""
    spectra = iter(SAID)
    monkeypatch.setattr(corpus, "log_power_of", lambda _: next(spectra).log_power)
    with writing_corpus(tmp_path / "corpus", "espeak-all-0") as part:
        for one in SAID:
            part.add(one.about, np.zeros(0, np.float32))
    monkeypatch.undo()
    small = train.Kind(3, 2, 1)
    monkeypatch.setattr("training.schedule.STAGES", ((1.0, ((small, 1.0),)),))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["train", *map(str, arguments), *SMALL])
    train.main()


def test_a_training_is_saved_gone_on_with_and_finished(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run(monkeypatch, work, "--steps", 4, "--stop-at", 2)
    first, _, _ = load_model(work / "run")
    assert torch.load(work / "run" / "state.pt", weights_only=True)["step"] == 2
    run(monkeypatch, work, "--steps", 4)
    second, vocabulary, phoneme_ids = load_model(work / "run")
    assert torch.load(work / "run" / "state.pt", weights_only=True)["step"] == 4
    assert not torch.equal(first.decoder.used, second.decoder.used)
    assert vocabulary.rows("Alto. seven")
    assert list(phoneme_ids) == ["", "a"]
    capsys.readouterr()
    run(monkeypatch, work, "--steps", 4)
    assert "has 4 steps already" in capsys.readouterr().out


def test_nobody_held_out_is_trained_on_unless_everybody_is(work: Path, monkeypatch: pytest.MonkeyPatch):
    heard: list[set[str]] = []

    class Remembering(Windows):
        def __init__(self, utterances: list[Utterance], weights: dict[tuple[str, str], float], *rest, **options):
            if weights is WEIGHTS:  # not the probes, which are there for strangers
                heard.append({one.about.speaker for one in utterances})
            super().__init__(utterances, weights, *rest, **options)

    monkeypatch.setattr(train, "Windows", Remembering)
    run(monkeypatch, work, "--steps", 1)
    run(monkeypatch, work, "--steps", 1, "--run", "final", "--all-speakers")
    everybody = {one.about.speaker for one in SAID}
    assert heard == [everybody - {"fsdd-jackson", "an4-1"}, everybody]


def test_tuning_begins_with_the_trained_weights(work: Path, monkeypatch: pytest.MonkeyPatch):
    run(monkeypatch, work, "--steps", 2)
    trained, _, _ = load_model(work / "run")
    state = work / "run" / "state.pt"
    run(monkeypatch, work, "--steps", 1, "--rate", 0, "--run", "final", "--start-from", state, "--all-speakers")
    tuned, _, _ = load_model(work / "final")
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tuned.state_dict()[name], tensor), name


def test_a_trained_state_is_exported_in_both_forms(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("training.alignment_heads._WINDOW", train.Kind(30, 1, 6, whole=True))
    run(monkeypatch, work, "--steps", 1)
    monkeypatch.setattr("training.export.read_corpus", lambda *_: [one for one in SAID if one.about.source == "espeak"])
    monkeypatch.setattr("sys.argv", ["export", str(work), "--to", "somewhere"])
    export.main()
    assert "alignment heads [(" in capsys.readouterr().out
    assert (work / "somewhere" / "nano.pt").is_file()
    generation = json.loads((work / "somewhere" / "nano" / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["alignment_heads"]


def test_a_missing_corpus_or_state_stops_the_training_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DataSetError, match="No corpus"):
        run(monkeypatch, tmp_path)
    with pytest.raises(CheckpointError, match=r"No state at .*nothing\.pt"):
        run(monkeypatch, tmp_path, "--start-from", tmp_path / "nothing.pt")


def test_a_width_is_cut_into_few_heads_in_the_encoder_and_more_in_the_decoder():
    shape = train.shape_of(128, n_audio_layer=4, n_text_layer=2)
    assert shape == train.Shape(128, n_audio_head=2, n_audio_layer=4, n_text_state=128, n_text_head=4, n_text_layer=2)


@pytest.mark.parametrize("n_state", [0, 32, 96, 200])
def test_a_width_that_heads_do_not_divide_is_refused(n_state: int):
    with pytest.raises(OptionError, match=rf"--state {n_state} cannot be divided into heads of 64\. Give a multiple"):
        train.shape_of(n_state, n_audio_layer=4, n_text_layer=2)


def test_a_state_whose_heads_were_others_is_not_gone_on_with(work: Path, monkeypatch: pytest.MonkeyPatch):
    run(monkeypatch, work, "--steps", 1)
    monkeypatch.setattr(train, "_AUDIO_HEAD_SIZE", 32)
    with pytest.raises(CheckpointError, match=r"state\.pt has the shape .*'n_audio_head': 1.*'n_audio_head': 2"):
        run(monkeypatch, work, "--steps", 2)
    with pytest.raises(CheckpointError, match=r"state\.pt has the shape"):
        run(monkeypatch, work, "--steps", 1, "--run", "final", "--start-from", work / "run" / "state.pt")
    assert not (work / "final" / "state.pt").exists()


def test_a_corpus_with_other_words_does_not_spoil_a_state(work: Path, monkeypatch: pytest.MonkeyPatch):
    run(monkeypatch, work, "--steps", 1)
    before = {name: (work / "run" / name).read_bytes() for name in ("state.pt", "inventory.json")}
    monkeypatch.setattr(corpus, "log_power_of", lambda _: SAID[0].log_power)
    with writing_corpus(work / "corpus", "espeak-all-1") as part:
        part.add(utterance("Butterflies.").about, np.zeros(0, np.float32))
    with pytest.raises(CheckpointError, match="other tokens than the corpus has now"):
        run(monkeypatch, work, "--steps", 2)
    assert {name: (work / "run" / name).read_bytes() for name in before} == before


def test_what_is_never_drawn_is_told(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(corpus, "log_power_of", lambda _: SAID[0].log_power)
    with writing_corpus(work / "corpus", "theirs") as part:
        for language in ("en", "it"):
            part.add(utterance("Stop.", source="theirs", language=language).about, np.zeros(0, np.float32))
    run(monkeypatch, work, "--steps", 1)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("never drawn")]
    assert told == [
        f"never drawn: 1 utterances of theirs in {language}, without weight in schedule.py" for language in ("en", "it")
    ]


def test_a_few_steps_make_the_loss_smaller():
    torch.manual_seed(0)
    vocabulary, phoneme_ids = train.vocabulary_of(SAID), train.phoneme_ids_of(SAID)
    model = train.new_model(train.Shape(32, 2, 1, 32, 2, 1), vocabulary, phoneme_ids)
    batch = Windows(SAID, WEIGHTS, vocabulary, phoneme_ids, seed=1).batch(train.Kind(2, 8, 1))
    optimizers = train.make_optimizers(model)
    schedule = train.Schedule(100, 1e-2, warm_up=1)
    parts = [train._step(model, optimizers, batch, schedule, step=1) for _ in range(12)]
    assert all(math.isfinite(value) for step in parts for value in step.values())
    assert parts[-1]["text"] < 0.8 * parts[0]["text"]


def test_matrices_of_the_blocks_are_muons_and_everything_else_is_adams():
    vocabulary, phoneme_ids = train.vocabulary_of(SAID), train.phoneme_ids_of(SAID)
    model = train.new_model(train.Shape(32, 2, 1, 32, 2, 1), vocabulary, phoneme_ids)
    muon, adam = (optimizer.param_groups[0]["params"] for optimizer in train.make_optimizers(model))
    assert len(muon) + len(adam) == len(list(model.parameters()))
    assert {parameter.ndim for parameter in muon} == {2}
    assert any(parameter is model.decoder.used for parameter in adam)
    assert len(muon) == 6 + 10  # query, key, value, out, and two of the MLP; the decoder has cross-attention as well


def test_accuracy_counts_text_alone():
    vocabulary, phoneme_ids = train.vocabulary_of(SAID), train.phoneme_ids_of(SAID)
    model = train.new_model(train.Shape(32, 2, 1, 32, 2, 1), vocabulary, phoneme_ids).eval()
    batch = Windows(SAID, WEIGHTS, vocabulary, phoneme_ids, seed=1).batch(SINGLE)
    with torch.no_grad():
        model.decoder.ln.weight.zero_()
        model.decoder.ln.bias.copy_(10 * model.decoder.used[vocabulary.row(vocabulary.tokenizer.eot)])
        for parameter in (model.decoder.timestamp.weight, model.decoder.timestamp.bias, model.decoder.multiplicity):
            parameter.zero_()
    judged = batch.targets[batch.targets != IGNORED]
    text = judged[judged < vocabulary.n_used]
    expected = (text == vocabulary.row(vocabulary.tokenizer.eot)).float().mean()
    assert train.accuracy(model, batch) == pytest.approx(float(expected))
