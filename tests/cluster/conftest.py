"""A Slurm cluster, and a prepared corpus for the jobs that it runs."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.jobs import Cluster
from tests.cluster.slurm_node import missing, slurm_cluster
from tests.integration.commands import CORPUS, run, train_command


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with corpus, shards and tokenizer, made by one update of the main job."""
    folder = tmp_path_factory.mktemp("work")
    options = {**CORPUS, "work_folder": folder, "max_updates": 1, "model.max_decode_ratio": 0.1}
    run(train_command("hparams/train.yaml", folder / "made", **options)).check()
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of one node; the test skips where Slurm is absent."""
    reason = missing()
    if reason is not None:
        # Not in the default run: who asks for these tests is told what they need.
        pytest.skip(reason)
    with (
        tempfile.TemporaryDirectory(prefix="slurm") as folder,  # short, as a socket's path must be
        slurm_cluster(Path(folder)) as environment,
    ):
        yield Cluster(Path(folder), environment)
