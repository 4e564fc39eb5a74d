"""Every batch is applied exactly once per epoch, by whichever worker is free, whatever dies."""

import contextlib
import gc
import multiprocessing
import threading
from pathlib import Path

import pytest

from hogwild.crew import WorkerError
from tests.unit.hogwild.counting import Numbered, Task, count, times_applied

pytestmark = pytest.mark.multiproc
PAUSE_S = 0.002


def test_every_batch_is_applied_once_per_epoch():
    brain, figures = count(Task(size=60, pause_s=PAUSE_S), epochs=3)
    assert times_applied(brain) == [3] * 60
    assert [entry["epoch"] for entry in figures] == [1, 2, 3]
    assert sum(figures[-1]["utterances_by_worker"]) == 180
    assert min(figures[-1]["updates_by_worker"]) > 0
    assert sum(figures[-1]["staleness_histogram"]) == 180
    assert figures[-1]["lost_updates_share"] < 0.05
    assert figures[-1]["grad_norm_mean"] == pytest.approx(1.0)  # of every update


def test_accumulation_flushes_what_is_left_at_the_epochs_end():
    brain, _ = count(Task(size=7, group=3), epochs=2)
    # Groups are means, so a batch weighs group / size of its group: the sum of all is what counts.
    assert brain.optimizer_step >= 6
    assert all(param < 0 for param in brain.modules.parameters())


def test_slow_worker_takes_fewer():
    brain, figures = count(Task(60, fate="is_slow"), epochs=1)
    fast, slow = figures[-1]["updates_by_worker"]
    assert fast > slow
    assert times_applied(brain) == [1] * 60


def test_limit_in_updates_is_exact():
    brain, _ = count(Task(size=20), epochs=3, hparams={"max_updates": 33})
    assert brain.optimizer_step == 33
    assert sum(times_applied(brain)) == 33


@pytest.mark.parametrize("group", [1, 3])
def test_limit_in_seconds_ends_in_mid_epoch_and_repeats_nothing(tmp_path, group):
    task = Task(size=10_000, pause_s=0.01, group=group)
    valid = [Numbered(0, ["valid"])]
    brain, figures = count(task, valid=valid, hparams={"max_seconds": 1.0}, folder=tmp_path)
    applied = times_applied(brain)
    assert len(figures) == 1
    assert 10 < brain.num_utterances < 400
    assert brain.epoch_is_open
    if group == 1:  # with groups a parameter falls by more than 1
        assert set(applied) == {0, 1}
        assert sum(applied) == brain.num_utterances == brain.optimizer_step


def test_run_that_is_asked_to_stop_goes_on_without_loss(tmp_path, monkeypatch):
    task, valid = Task(size=400, pause_s=0.01), [Numbered(0, ["valid"])]
    file = tmp_path / "stop"
    monkeypatch.setenv("STAMPEDE_STOP_FILE", str(file))
    timer = threading.Timer(0.5, file.touch)
    timer.start()
    with pytest.raises(SystemExit) as ended:
        count(task, folder=tmp_path / "run", epochs=1, valid=valid)
    assert ended.value.code == 75
    timer.join()
    file.unlink()
    brain, figures = count(task, folder=tmp_path / "run", epochs=1, valid=valid)
    assert times_applied(brain) == [1] * 400
    assert sum(figures[-1]["utterances_by_worker"]) == 400


def test_killed_workers_lose_and_repeat_nothing(tmp_path):
    deaths = 24
    task = Task(300, tmp_path, "dies_at_random", deaths, PAUSE_S)
    brain, figures = count(task, epochs=2, max_restarts=deaths)
    applied = times_applied(brain)
    assert figures[-1]["restarts"] == deaths
    assert figures[-1]["batches_given_out_again"] >= deaths
    assert min(applied) == 2
    # Only a death in the moment between a step and its count repeats a batch.
    assert sum(applied) - 600 <= deaths // 4


@pytest.mark.parametrize(
    ("options", "optimizer"),
    [
        ({"lock": "flock"}, "sgd"),
        # A push, as of workers that look ahead, adds to all parameters: without the lock it may
        # undo an update made meanwhile.
        ({"share_state": "all", "lookahead": 0.0}, "adam"),
        ({"share_state": "all", "lock": "flock"}, "adam"),
        ({"access": "pull_push", "lock": "flock"}, "sgd"),
        ({"drain": True}, "sgd"),
    ],
    ids=["flock", "shared Adam", "looking ahead", "pull_push", "drained"],
)
def test_killed_workers_lose_nothing_however_they_update(tmp_path, options, optimizer):
    deaths = 8
    task = Task(150, tmp_path, "dies_at_random", deaths, PAUSE_S, optimizer=optimizer)
    brain, figures = count(task, epochs=2, max_restarts=deaths, **options)
    applied = times_applied(brain)
    assert figures[-1]["restarts"] == deaths
    assert figures[-1]["batches_given_out_again"] >= deaths
    assert min(applied) == 2
    assert sum(applied) - 300 <= deaths // 2
    assert sum(figures[-1]["utterances_by_worker"]) >= 300


def test_worker_killed_before_it_is_ready_is_started_again(tmp_path):
    brain, figures = count(Task(20, tmp_path, "dies_before_it_is_ready"), epochs=1)
    assert times_applied(brain) == [1] * 20
    assert figures[-1]["restarts"] >= 1


def test_worker_killed_while_it_rests_is_started_again():
    class Deadly:
        """Kills a worker during each validation, while all wait for the next epoch."""

        num_killed = 0

        def __iter__(self):
            worker, *_ = multiprocessing.active_children()
            worker.kill()
            self.num_killed += 1
            yield Numbered(0, ["valid"])

    valid = Deadly()
    brain, figures = count(Task(20), epochs=3, valid=valid, drain=True)
    assert times_applied(brain) == [3] * 20
    assert valid.num_killed == 3
    assert figures[-1]["restarts"] in (1, 2)  # the end of a process may be seen after the run's


def test_sigkill_gives_the_batch_out_again(tmp_path):
    brain, figures = count(Task(20, tmp_path, "dies_once"), epochs=1)
    assert times_applied(brain) == [1] * 20
    assert figures[-1]["restarts"] == 1


def test_too_many_deaths_end_the_run(tmp_path):
    task = Task(300, tmp_path, "dies_at_random", 20, PAUSE_S)
    with pytest.raises(WorkerError, match="max_restarts = 2"):
        count(task, max_restarts=2)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_exception_ends_the_run_with_its_traceback(method):
    with pytest.raises(WorkerError, match=r"worker 1 raised:[^$]*third batch of worker 1"):
        count(Task(100, fate="raises"), start_method=method)
    assert not multiprocessing.active_children()


def test_exception_ends_a_validation_too(tmp_path):
    def endless():
        while True:
            yield Numbered(0, [])

    class Endless:
        def __iter__(self):
            return endless()

    with pytest.raises(WorkerError, match="third batch"):
        count(Task(4, fate="raises"), valid=Endless(), epochs=9)


@pytest.mark.parametrize("what", ["error", "restart"])
def test_hung_worker_is_found(tmp_path, what):
    task = Task(20, tmp_path, "hangs")
    if what == "error":
        with pytest.raises(WorkerError, match="worker 1 has finished no batch"):
            count(task, worker_timeout_s=3.0)
        return
    brain, figures = count(task, worker_timeout_s=3.0, on_timeout="restart")
    assert times_applied(brain) == [2] * 20
    assert figures[-1]["restarts"] >= 1


def shared_files() -> list[str]:
    """Return this process's open pieces of the shared memory; they have no name elsewhere."""
    links = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            links.append(str(path.readlink()))
    return [link for link in links if "stampede-hogwild" in link]


def test_nothing_is_left_behind():
    before = len(shared_files())
    for lock in ("free", "flock"):
        count(Task(8), epochs=1, lock=lock)
    gc.collect()
    assert not multiprocessing.active_children()
    assert len(shared_files()) <= before
