"""One run of the main job, whose corpus, shards and tokenizer all other tests use."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.commands import CORPUS, Done, run, train_command


@dataclass(frozen=True)
class MainJob:
    """The main job's folders, command and end."""

    work: Path
    output: Path
    command: list[str]
    done: Done


@pytest.fixture(scope="session")
def main_job(tmp_path_factory: pytest.TempPathFactory) -> MainJob:
    """The main job as it stands, on a corpus of three minutes, for two epochs."""
    folder = tmp_path_factory.mktemp("main_job")
    work, output = folder / "work", folder / "run"
    options = {**CORPUS, "work_folder": work, "num_epochs": 2, "num_workers": 1, "log_every": 2}
    command = train_command("hparams/train.yaml", output, **options)
    return MainJob(work, output, command, run(command).check())
