"""Training and testing on shards that lie on a web server, with faults on the way."""

from pathlib import Path

import pytest

from tests.integration.commands import SMALL, log_rows, run, run_json, train_command
from tests.integration.conftest import MainJob
from tests.unit.data_prepare.faulty_server import FaultyServer
from tests.unit.data_prepare.remote_cases import no_proxies

pytest.importorskip("aiohttp")
pytestmark = pytest.mark.multiproc
__all__ = ["no_proxies"]


def test_run_on_an_address_uses_the_same_shards(main_job: MainJob, tmp_path: Path):
    options = {name: value for name, value in SMALL.items() if not name.startswith("corpus.")}
    with FaultyServer(main_job.work) as server:
        server.fail("shard-000000.tar", "reset", 503)
        options |= {
            "shards_folder": f"{server.address}/shards",
            "corpus.cache_folder": tmp_path / "cache",
            "work_folder": tmp_path / "work",
            "num_epochs": 1,
            "num_workers": 1,
        }
        command = train_command("hparams/train_prepared.yaml", tmp_path / "run", **options)
        run(command).check()
    record, expected = run_json(tmp_path / "run"), run_json(main_job.output)
    assert record["index_checksums"] == expected["index_checksums"]
    assert record["results"]["test"]["utterances"] == expected["results"]["test"]["utterances"]
    assert len(log_rows(tmp_path / "run")) > 0
