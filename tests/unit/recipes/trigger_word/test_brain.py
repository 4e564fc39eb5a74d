"""The loss of the detector, beside PyTorch's and by finite differences, and its figures."""

from types import SimpleNamespace

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch
from torch.nn import functional as F

from recipes.TriggerWord.Detection.conv_gru.brain import Detector
from recipes.TriggerWord.Detection.conv_gru.loss import summed_bce
from tests.conftest import ROOT

RATE_HZ = 8000
ENDS_MS = ([300], [], [100, 700])
SECONDS = (1.0, 0.5, 0.8)


def make_batch(*, is_padding=False) -> PaddedBatch:
    generator = torch.Generator().manual_seed(0)
    rows = [
        {
            "id": f"c{n}",
            "wavs": 0.1 * torch.randn(int(RATE_HZ * seconds), generator=generator),
            "notes": {"trigger_ends_ms": ends} if ends else {},
        }
        for n, (ends, seconds) in enumerate(zip(ENDS_MS, SECONDS, strict=True))
    ]
    batch = PaddedBatch(rows)
    batch.is_padding = is_padding
    return batch


@pytest.fixture
def brain(tmp_path) -> Detector:
    torch.manual_seed(0)
    sizes = {"conv_channels": 8, "gru_units": 8, "dropout": 0.0}
    with (ROOT / "hparams/model/conv_gru_detector.yaml").open(encoding="utf-8") as file:
        model = load_hyperpyyaml(file, sizes)
    hparams = {
        **{"wav_augment": None, "pos_weight": None, "rate_hz": RATE_HZ, "valid_metric": "bce"},
        **{"label_ms": 364.0, "threshold": 0.5, "refractory_ms": 546.0},
        **{"match_tolerance_ms": 87.0, "match_early_ms": 0.0, "output_folder": str(tmp_path)},
    }
    found = Detector(model["modules"], torch.optim.Adam, hparams, {"device": "cpu"})
    found.run_log = SimpleNamespace(update=lambda report: None, stage=lambda *a, **k: None)
    found.on_stage_start(Stage.TRAIN, 1)
    return found


def loss_of(brain, batch, stage=Stage.TRAIN):
    return brain.compute_objectives(brain.compute_forward(batch, stage), batch, stage)


def test_objectives_equal_the_mean_over_each_clips_own_steps(brain):
    batch = make_batch()
    outputs = brain.compute_forward(batch, Stage.TRAIN)
    loss = brain.compute_objectives(outputs, batch, Stage.TRAIN)
    clips = brain.clips_of(batch, [8000, 4000, 6400])
    expected = sum(
        F.binary_cross_entropy_with_logits(
            outputs["logits"][place, : len(clip.labels)],
            torch.from_numpy(clip.labels),
            reduction="sum",
        )
        for place, clip in enumerate(clips)
    )
    assert loss.count == sum(len(clip.labels) for clip in clips) == 21 + 9 + 16
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert [clip.ends for clip in clips] == [(6,), (), (2, 14)]


@pytest.mark.parametrize("weight", [None, 3.0])
def test_loss_gradient_is_that_of_finite_differences(weight):
    torch.manual_seed(0)
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    labels, num_steps = (torch.rand(3, 5) > 0.5).float(), torch.tensor([5, 2, 0])

    def total(values):
        return summed_bce(values, labels, num_steps=num_steps, pos_weight=weight)

    assert torch.autograd.gradcheck(total, [logits])
    (grad,) = torch.autograd.grad(total(logits), logits)
    assert not grad[1, 2:].any() and not grad[2].any()


@pytest.mark.parametrize("weight", [None, 3.0])
def test_loss_equals_the_formula(weight):
    torch.manual_seed(1)
    logits, labels = (
        torch.randn(2, 4, dtype=torch.float64),
        torch.tensor([[1, 0, 1, 0], [0, 1, 1, 0]]),
    )
    p = 1 / (1 + torch.exp(-logits))
    terms = (weight or 1.0) * labels * p.log() + (1 - labels) * (1 - p).log()
    found = summed_bce(logits, labels, num_steps=torch.tensor([4, 3]), pos_weight=weight)
    torch.testing.assert_close(found, -(terms.sum() - terms[1, 3]))


def test_objectives_padding_batch_weighs_nothing(brain):
    loss = loss_of(brain, make_batch(is_padding=True))
    loss.total.backward()
    grads = [p.grad for p in brain.modules.parameters() if p.grad is not None]
    assert (loss.total.item(), loss.count) == (0.0, 0)
    assert grads and all(grad.abs().max() == 0 for grad in grads)


def test_validation_gives_the_figures_that_decide(brain):
    loss_of(brain, make_batch())  # statistics of the features
    brain.modules.eval()
    brain.on_stage_start(Stage.VALID, 1)
    batch = make_batch()
    with torch.no_grad():
        loss = loss_of(brain, batch, Stage.VALID)
    mean = loss.total.item() / loss.count
    brain.on_stage_end(Stage.VALID, mean, 1)
    assert brain.results["bce"] == pytest.approx(mean, rel=1e-5)
    assert brain.results["utterances"] == 3
    assert brain.results["triggers"] == 3
    assert set(brain.valid_figures) <= brain.results.keys()
    assert (ROOT / brain.hparams.output_folder / "events" / "valid.txt").is_file()


def test_bf16_loss_is_finite_and_in_float32(brain):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = brain.compute_forward(make_batch(), Stage.TRAIN)
        loss = brain.compute_objectives(outputs, make_batch(), Stage.TRAIN)
    assert outputs["logits"].dtype == torch.bfloat16
    assert loss.total.dtype == torch.float32
    assert torch.isfinite(loss.total)
