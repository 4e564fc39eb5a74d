"""The presets hold the benchmark's values for their global batches."""

import pytest

from recipes.common.hparams import load_run
from tests.consistency.run_files import view_of
from tests.unit.recipes.transducer.brains import FOLDER, TINY

PRESETS = {
    512: (0.0062, 1, 11, 0.915, (0.9, 0.9985), 0.994, 0.45),
    1024: (0.007447, 3, 17, 0.9037, (0.9, 0.999), 0.992, 0.5),
    1536: (0.0072, 5, 26, 0.92, (0.9, 0.999), 0.995, 0.5),
    2048: (0.007, 6, 33, 0.939, (0.9, 0.999), 0.995, 0.5),
    3072: (0.009, 9, 40, 0.940, (0.9, 0.995), 0.985, 0.35),
    6144: (0.014, 16, 40, 0.970, (0.82, 0.98), 0.96, 0.5),
}
"""Rate, epochs of warm-up and hold, factor an epoch, betas, decay of the average, scale of the
LSTMs' first values: MLCommons' reference convergence points of round 2.0."""

MOST_EPOCHS = {512: 52, 1024: 50, 1536: 52, 2048: 60, 3072: 68, 6144: 117}
"""Of the reference runs of round 2.0."""


def test_every_preset_is_known():
    assert {path.name for path in (FOLDER / "presets").iterdir()} == {f"{n}.yaml" for n in PRESETS}


@pytest.mark.parametrize("global_batch", PRESETS)
def test_preset_has_the_benchmarks_values(global_batch, tmp_path):
    rate, warmup, hold, gamma, betas, decay, scale = PRESETS[global_batch]
    words = [str(FOLDER / f"presets/{global_batch}.yaml")]
    own = {"data_folder": tmp_path, "work_folder": tmp_path, "output_folder": tmp_path / "run"}
    for key, value in {**TINY, **own}.items():
        words += [f"--{key}", str(value)]
    made = load_run(words).hparams
    schedule, optimizer = made["update_schedule"], made["opt_class"].keywords
    assert (schedule.peak, schedule.warmup_epochs, schedule.hold_epochs) == (rate, warmup, hold)
    assert (schedule.gamma, schedule.lowest) == (gamma, 1e-5)
    assert (optimizer["lr"], tuple(optimizer["betas"])) == (rate, betas)
    assert (optimizer["eps"], optimizer["weight_decay"]) == (1e-9, 1e-3)
    assert (made["max_grad_norm"], made["ema_decay"]) == (1.0, decay)
    assert made["model"]["init"] == (1.0, 0.0, scale)  # bias of forget gates, its second part
    loader = made["train_loader"].keywords
    assert (loader["global_batch"], loader["num_buckets"]) == (global_batch, 1)
    assert loader["max_utterance_s"] == 16.7
    assert made["epoch_counter"].limit > MOST_EPOCHS[global_batch]
    assert tuple(loader["speed"]) == (0.85, 1.15)


def test_reference_validates_few_utterances_at_once():
    # It keeps all logits: 60 s have some 10^8, the 4000 s of losses by rows 10^10.
    tree = view_of(FOLDER / "reference.yaml").tree
    assert (tree["loss"], tree["valid_batch_s"]) == ("torchaudio", 60.0)


def test_reference_alone_computes_in_tf32():
    trees = [view_of(FOLDER / f"{name}.yaml").tree for name in ("reference", "train", "small")]
    assert [tree["allow_tf32"] for tree in trees] == [True, False, False]
