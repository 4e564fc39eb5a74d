"""The Brains of the letter and word-piece recipes on a few made-up utterances."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.epoch_loop import EpochCounter
from torch.optim import SGD

from recipes.common.checkpointer import StampedeCheckpointer
from recipes.common.lengths import absolute
from recipes.LibriSpeech.ASR.conv_glu import brain as conv_glu
from recipes.LibriSpeech.ASR.lexicon_free import brain as lexicon_free
from recipes.LibriSpeech.ASR.seq2seq_tds import brain as seq2seq_tds
from recipes.LibriSpeech.wav2letter.phases import Phases
from tests.conftest import ROOT
from tests.unit.recipes.common.toy import ToyLoader

RECIPES = ROOT / "recipes/LibriSpeech/ASR"
TEXTS = ["ab", "c", "abcab"]
CONV = {
    **{"num_tokens": 6, "channels": [8, 8], "kernels": [5, 5], "hidden": 8, "dropout": 0.0},
}
TDS = {
    **{"num_tokens": 6, "num_filters": 8, "tds_channels": [2, 2], "tds_blocks": [1, 1]},
    **{"decoder_size": 8, "max_tokens": 7, "dropout": 0.0},
}


class Letters:
    """Stands for both tokenizers: token 1 is "a"."""

    def encode(self, text: str, *, is_training: bool = False) -> list[int]:
        return [ord(c) - 96 for c in text]

    def decode(self, rows: Any) -> list[str]:
        return ["".join(chr(96 + int(i)) for i in row) for row in rows]


def make_batch(*, is_padding: bool = False) -> PaddedBatch:
    generator = torch.Generator().manual_seed(0)
    rows = [
        {
            "id": f"u{i}",
            "wavs": 0.1 * torch.randn(8000 * (i + 1), generator=generator),
            "tokens": torch.tensor(Letters().encode(text)),
            "text": text,
            "category": "clean",
        }
        for i, text in enumerate(TEXTS)
    ]
    batch = PaddedBatch(rows)
    batch.is_padding = is_padding
    return batch


def build(
    kind: Any, model: dict[str, Any], folder: Any, *, checkpointer: Any = None, **hparams: Any
) -> Any:
    phase = {"lr": 0.1, "lr_criterion": 0.1, "max_grad_norm": 1.0, "linseg_epochs": 1}
    given = {
        **{"phases": Phases([phase]), "amp_policy": "w2l", "nominal_batch": None},
        **{"wav_augment": None, "fea_augment": None, "output_folder": str(folder)},
        **{"valid_metric": "wer", **hparams},
    }
    options = {"device": "cpu", "noprogressbar": True}
    brain = kind(model["modules"], lambda groups: SGD(groups, lr=0.1), given, options, checkpointer)
    brain.tokenizer = Letters()
    brain.run_log = SimpleNamespace(update=lambda report: None, stage=lambda *a, **k: None)
    brain.init_optimizers()
    brain.on_stage_start(Stage.TRAIN, 1)
    return brain


@pytest.fixture
def make(tmp_path) -> Callable[..., Any]:
    """Function from a Brain's class and options to the Brain of a tiny model."""

    def make_brain(kind: Any, **options: Any) -> Any:
        torch.manual_seed(0)
        if kind is seq2seq_tds.ASR:
            path, sizes, search = "seq2seq_tds/hparams/model/tds.yaml", TDS, "greedy_search"
            options = {
                **{"label_smoothing": 0.1, "pct_teacher_forcing": 100, "softw_std": 4.0},
                **{"pretrain_window_epochs": 1, "train_on_target_padding": False},
                **{"num_tokens": 6, **options},
            }
        else:
            path, sizes, search = "conv_glu/hparams/model/conv_glu.yaml", CONV, "viterbi"
        with (RECIPES / path).open(encoding="utf-8") as file:
            model = load_hyperpyyaml(file, {**sizes, "norm_on_padding": False})
        searches = {"valid_search": model[search], "test_search": model[search]}
        return build(kind, model, tmp_path, **searches, **options)

    return make_brain


KINDS = [conv_glu.ASR, lexicon_free.ASR, seq2seq_tds.ASR]


def loss_of(brain, batch, stage=Stage.TRAIN):
    return brain.compute_objectives(brain.compute_forward(batch, stage), batch, stage)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_a_sum_over_utterances_with_gradients_everywhere(make, kind):
    brain = make(kind)
    loss = loss_of(brain, make_batch())
    assert (loss.count, loss.total.dtype) == (3, torch.float32)
    loss.total.backward()
    assert all(param.grad is not None for param in brain.modules.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_padding_batch_weighs_nothing(make, kind):
    loss = loss_of(make(kind), make_batch(is_padding=True))
    assert (loss.count, loss.total.item()) == (0, 0.0)
    loss.total.backward()


@pytest.mark.parametrize("kind", KINDS)
def test_nominal_batch_counts_in_training_only(make, kind):
    brain = make(kind, nominal_batch=4)
    brain.modules.eval()
    assert loss_of(brain, make_batch()).count == 4
    brain.on_stage_start(Stage.VALID, 1)
    assert loss_of(brain, make_batch(), Stage.VALID).count == 3


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_changes_the_loss_little(make, kind):
    brain = make(kind)
    loss = loss_of(brain, make_batch()).total.item()
    with torch.autocast("cpu", torch.bfloat16):
        half = loss_of(brain, make_batch()).total
    assert half.dtype == torch.float32
    assert float(half.detach()) == pytest.approx(float(loss), rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_validation_scores_what_is_recognised(make, kind):
    brain = make(kind)
    brain.modules.eval()
    brain.on_stage_start(Stage.VALID, 1)
    loss_of(brain, make_batch(), Stage.VALID)
    brain.on_stage_end(Stage.VALID, 1.0, 1)
    assert brain.results["utterances"] == 3
    assert brain.results["wer"] > 0


def test_first_epoch_of_letters_has_linear_targets(make):
    brain = make(conv_glu.ASR)
    losses = []
    for epoch in (1, 2):
        brain.on_stage_start(Stage.TRAIN, epoch)
        losses.append(loss_of(brain, make_batch()).total.item())
    outputs = brain.compute_forward(make_batch(), Stage.TRAIN)
    targets, lens = make_batch().tokens
    counts = absolute(lens, targets)
    arguments = outputs["emissions"], outputs["num_frames"], targets, counts
    expected = [
        float(brain.modules.criterion(*arguments, linear).sum()) for linear in (True, False)
    ]
    assert losses == pytest.approx(expected)
    assert losses[0] != losses[1]


def test_letters_cut_targets_longer_than_their_frames(make, caplog):
    brain = make(conv_glu.ASR)
    batch = make_batch()
    outputs = brain.compute_forward(batch, Stage.TRAIN)
    outputs["num_frames"] = torch.tensor([1, 1, 2])
    brain.compute_objectives(outputs, batch, Stage.TRAIN)
    assert int(brain.num_cut) == 2
    brain.on_stage_end(Stage.TRAIN, 1.0, 1)
    assert "2 targets have more tokens than frames" in caplog.text


def test_letters_are_cut_to_the_padded_frames_in_the_way_of_the_original(make):
    brain = make(conv_glu.ASR)
    batch = make_batch()
    outputs = brain.compute_forward(batch, Stage.TRAIN)
    outputs["num_frames"] = torch.tensor([1, 1, 2])
    brain.modules.criterion.use_lengths = False
    brain.compute_objectives(outputs, batch, Stage.TRAIN)
    assert int(brain.num_cut) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_utterances_without_hypothesis_are_counted_and_told(make, kind, caplog):
    brain = make(kind)
    brain.modules.eval()
    brain.hparams.test_search = lambda *arguments: [[1], [], []]
    brain.on_stage_start(Stage.TEST)
    loss_of(brain, make_batch(), Stage.TEST)
    brain.on_stage_end(Stage.TEST, 1.0)
    assert brain.results["num_empty"] == 2
    assert "test: 2 of 3 utterances have no hypothesis; widen the beam" in caplog.text


def test_window_holds_for_its_epochs_only(make):
    brain = make(seq2seq_tds.ASR)
    losses = []
    for epoch in (1, 2):
        brain.on_stage_start(Stage.TRAIN, epoch)
        losses.append(loss_of(brain, make_batch()).total.item())
    assert losses[0] != losses[1]
    assert brain.window(torch.tensor([3]), torch.tensor([2]), shape=(2, 3)) is None


def test_window_of_a_resumed_run_holds_for_the_epochs_that_are_left(make, tmp_path):
    seen = []
    for epochs in (2, 4):
        counter = EpochCounter(epochs)
        kept = StampedeCheckpointer(tmp_path / "checkpoints", {"counter": counter})
        brain = make(seq2seq_tds.ASR, pretrain_window_epochs=3, checkpointer=kept)
        window = brain.window

        def noted(*arguments, of=window, brain=brain, **options):
            found = of(*arguments, **options)
            if brain.modules.training:
                seen.append((brain.epoch, found is not None))
            return found

        brain.window = noted
        brain.fit(counter, *(ToyLoader([make_batch()]) for _ in range(2)))
    assert seen == [(1, True), (2, True), (3, True), (4, False)]


def test_targets_end_with_the_end_token_and_may_count_in_padding(make):
    brain = make(seq2seq_tds.ASR)
    targets, counts = brain.targets(TEXTS, is_training=True)
    assert targets.tolist() == [[1, 2, 5, 5, 5, 5], [3, 5, 5, 5, 5, 5], [1, 2, 3, 1, 2, 5]]
    assert counts.tolist() == [3, 2, 6]
    masked = loss_of(brain, make_batch()).total.item()
    on_padding = make(seq2seq_tds.ASR, train_on_target_padding=True)
    assert float(loss_of(on_padding, make_batch()).total) > 1.2 * masked


def test_random_tokens_change_the_training_loss_only(make):
    brain = make(seq2seq_tds.ASR, pct_teacher_forcing=0)
    drawn = {loss_of(brain, make_batch()).total.item() for _ in range(4)}
    assert len(drawn) > 1
    brain.on_stage_start(Stage.VALID, 1)
    valid = {float(loss_of(brain, make_batch(), Stage.VALID).total) for _ in range(2)}
    assert len(valid) == 1
