"""What the parent does with snapshots at a limit: without workers."""

import queue
from types import SimpleNamespace

import pytest

from hogwild.counters import UPDATES
from hogwild.items import EpochItems
from hogwild.options import HogwildOptions
from hogwild.session import Session
from hogwild.snapshot import HogwildState
from recipes.common.stop_file import RunStopped
from tests.unit.hogwild.toy_run import Toy

LIMIT = 8


@pytest.fixture(name="wait_for")
def _wait_for(tmp_path):
    def wait_for(*reasons, updates, is_asked):
        """Give snapshots after so many updates; return the reason of the one that ends the wait."""
        brain, _ = Toy({"hparams": {"max_updates": LIMIT}}).make(tmp_path)
        brain.init_optimizers()
        brain.stop_file = SimpleNamespace(is_there=is_asked, path="stop")
        session = Session(brain, HogwildOptions(), EpochItems(lambda _: 99), state=HogwildState())
        session.memory.counters.counts[:, UPDATES] = (updates, 0)
        events = queue.SimpleQueue()
        for reason in reasons:
            events.put(session.memory.copy(reason, epoch=1, rng=[None, None]))
        session._coordinator = SimpleNamespace(
            events=events, is_out_of_time=False, note_saved=lambda: None
        )
        return session._wait().reason

    return wait_for


def test_request_to_stop_saves_and_ends_the_run(wait_for, tmp_path):
    with pytest.raises(RunStopped):
        wait_for("limit", updates=LIMIT - 1, is_asked=True)
    assert len(list(tmp_path.iterdir())) == 1


def test_finished_run_is_validated_before_it_is_saved_or_stopped(wait_for, tmp_path):
    assert wait_for("save", "limit", updates=LIMIT, is_asked=True) == "limit"
    assert wait_for("save", "epoch", updates=LIMIT, is_asked=False) == "epoch"
    assert not list(tmp_path.iterdir())


def test_save_is_written_while_the_epoch_goes_on(wait_for, tmp_path):
    assert wait_for("save", "epoch", updates=1, is_asked=False) == "epoch"
    assert len(list(tmp_path.iterdir())) == 1
