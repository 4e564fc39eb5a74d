import importlib
import pickle
import threading
from concurrent.futures import CancelledError, Future
from types import SimpleNamespace

import pytest

from data_prepare import executors
from data_prepare.executors import ClusterWorkers, look_around, open_crew
from data_prepare.pool import WorkerDiedError

KilledWorker = pytest.importorskip("distributed.scheduler").KilledWorker


def double(number):
    return 2 * number


class Client:
    """Makes calls in threads; some numbers kill their workers always, others only at first."""

    def __init__(self, deadly=(), unlucky=()):
        self._deadly, self._unlucky = set(deadly), set(unlucky)
        self._lock = threading.Lock()
        self._under_way = []
        self.beside = {}  # calls under way when this one came last

    def get_executor(self, **_):
        return self

    def submit(self, call, repository, pickled):
        _, (number,), _ = pickle.loads(pickled)
        future = Future()
        with self._lock:
            self.beside[number] = list(self._under_way)
            self._under_way.append(number)
        threading.Thread(target=self._run, args=(future, number)).start()
        return future

    def _run(self, future, number):
        with self._lock:
            is_killed = number in self._deadly | self._unlucky
            self._unlucky.discard(number)
            self._under_way.remove(number)
        if is_killed:
            future.set_exception(KilledWorker("call", SimpleNamespace(address="tcp://x:2"), 3))
        elif number < 0:
            future.set_exception(CancelledError())
        else:
            future.set_result(double(number))

    def shutdown(self, wait):
        pass


def test_cluster_workers_neighbour_of_a_deadly_call_is_cleared():
    client = Client(deadly=[3], unlucky=[2, 4])
    workers = ClusterWorkers(client, "tcp://x:1")
    futures = {number: workers.submit(double, number) for number in range(6)}
    guilty = futures.pop(3)
    assert {number: future.result(60) for number, future in futures.items()} == {
        number: 2 * number for number in (0, 1, 2, 4, 5)
    }
    with pytest.raises(WorkerDiedError, match=r"workers of tcp://x:1 died again and again at 3;"):
        guilty.result(60)
    assert [client.beside[number] for number in (2, 3, 4)] == [[], [], []]
    workers.shutdown()


def test_cluster_workers_call_that_the_scheduler_lets_go_is_an_error():
    workers = ClusterWorkers(Client(), "tcp://x:1")
    with pytest.raises(RuntimeError, match="scheduler tcp://x:1 has let -1 go"):
        workers.submit(double, -1).result(60)
    workers.shutdown()


def test_look_around_tells_what_is_not_there(tmp_path):
    (tmp_path / "mark").touch()
    assert look_around(tmp_path, tmp_path, "mark") == []
    assert [path.name for path in tmp_path.iterdir()] == ["mark"]
    nowhere = tmp_path / "nowhere"
    assert look_around(nowhere, nowhere, "mark") == [f"no {nowhere}", f"no {nowhere}"]


@pytest.mark.parametrize(
    ("scheduler", "error", "message"),
    [
        ("nonsense", ValueError, "expected an address such as tcp://node7:8786"),
        ("no/such/file.json", FileNotFoundError, "no scheduler file no/such/file.json"),
        ("tcp://127.0.0.1:1", RuntimeError, r"no Dask scheduler at tcp://127.0.0.1:1 within 1 s"),
    ],
)
def test_open_crew_scheduler_that_is_not_there_is_told(
    tmp_path, monkeypatch, scheduler, error, message
):
    monkeypatch.setattr(executors, "CONNECT_S", 1)
    with (
        pytest.raises(error, match=message),
        open_crew(1, scheduler, work=tmp_path, root=tmp_path),
    ):
        pass


def test_open_crew_without_dask_says_what_to_install(tmp_path, monkeypatch):
    def refuse(name):
        raise ImportError(f"no {name}")

    monkeypatch.setattr(importlib, "import_module", refuse)
    with (
        pytest.raises(RuntimeError, match="pip install -r requirements-extras.txt"),
        open_crew(1, "tcp://127.0.0.1:1", work=tmp_path, root=tmp_path),
    ):
        pass
