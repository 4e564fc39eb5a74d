"""What a worker of the command is built from."""

from types import SimpleNamespace

import pytest

import train_hogwild
from recipes.common import job
from recipes.common.hparams import load_run

RUN = """\
rate: {rate}
seed: 1
output_folder: out
hogwild: !new:hogwild.options.HogwildOptions
corpus: {{train_split: train}}
train_loader: !name:tests.unit.test_train_hogwild.open_nothing
"""


def open_nothing(folder, **options):
    return SimpleNamespace(rate_hz=None, fetch=None, num_batches=None, folder=folder, **options)


@pytest.fixture
def built(monkeypatch) -> list[dict]:
    """Hparams of the Brains that were built; no Brain and no data are."""
    found = []

    def build_brain(run, run_opts, *, run_log):
        found.append(run.hparams)
        return SimpleNamespace(modules=SimpleNamespace(named_modules=list))

    monkeypatch.setattr(job, "build_brain", build_brain)
    monkeypatch.setattr(job, "prepare_targets", lambda hparams, prepared: (None, []))
    return found


def test_worker_started_days_later_trains_what_the_parent_was_told(tmp_path, built):
    path = tmp_path / "run.yaml"
    path.write_text(RUN.format(rate=0.5))
    run = load_run([str(path), "--seed", "4"]).without_objects()
    for rate in (0.5, 0.7):
        path.write_text(RUN.format(rate=rate))
        prepared = SimpleNamespace(split=lambda name: f"shards/{name}")
        trainee = train_hogwild.make_trainee(1, run, prepared, {})
        assert trainee.brain.process == 1
    assert [(hparams["rate"], hparams["seed"]) for hparams in built] == [(0.5, 4)] * 2
    assert [hparams["checkpointer"] for hparams in built] == [None] * 2
