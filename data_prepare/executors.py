"""Who makes the shards: processes of this machine, or the workers of a Dask cluster.

What is sent to a worker are paths and numbers, and what comes back is small; audio never travels.
So all nodes must see the corpus, the output folder and this repository under the same paths, and
workers need this environment's packages. Calls and errors travel as pickles, as Dask has it:
give the address of a cluster that you trust.
"""

import importlib
import logging
import pickle
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from data_prepare.files import TEMPORARY_MARK
from data_prepare.pool import WorkerDiedError, describe_call, worker_pool
from data_prepare.shared_folder import wait_for

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

REPOSITORY = Path(__file__).resolve().parent.parent
CONNECT_S = 10
_ADDRESS = re.compile(r"(\w+://)?[^\s/]+:\d+")
_MAX_UNDER_WAY = 512
_SEEN_S = 60.0


@dataclass(frozen=True)
class Crew:
    """Workers, and what is good to know of them.

    Arguments
    ---------
    executor : Executor
        Makes calls of importable functions; `WorkerDiedError` if a call kills its workers.
    ahead : int
        Calls that should be under way beside the one waited for.
    title : str
        For the log.
    num_deaths : callable
        Returns how many workers died at work so far.
    """

    executor: Executor
    ahead: int
    title: str
    num_deaths: Callable[[], int]


@contextmanager
def open_crew(num_jobs: int, scheduler: str | None, *, work: Path, root: Path) -> Iterator[Crew]:
    """Hire workers.

    Arguments
    ---------
    num_jobs : int
        Processes of this machine, if there is no scheduler; with 1 this process does the work.
    scheduler : str | None
        Address of a Dask scheduler, or its scheduler file.
    work : Path
        The work folder, which every worker must see and be able to write to.
    root : Path
        The corpus, which every worker must see.

    Yields
    ------
    Crew
        The workers.

    Raises
    ------
    RuntimeError
        If the cluster cannot be reached or its workers do not see the folders.
    """
    if scheduler is not None:
        with _connected(scheduler) as client:
            _check_workers(client, scheduler, work=work.absolute(), root=root.absolute())
            with _cluster_crew(client, scheduler) as crew:
                yield crew
        return
    with worker_pool(num_jobs) as pool:
        title = f"{num_jobs} processes" if num_jobs > 1 else "1 process"
        yield Crew(pool, 2 * num_jobs if num_jobs > 1 else 0, title, lambda: pool.num_deaths)


class ClusterWorkers(Executor):
    """A Dask cluster whose faults come back as ours.

    The scheduler gives a call whose worker died to another one. When it gives a call up, that
    may be the fault of a neighbour on the same workers, so the call is made once more when
    nothing else is under way; if that fails as well, the call is guilty.

    Arguments
    ---------
    client : Any
        A distributed.Client, connected.
    address : str
        For messages.
    """

    def __init__(self, client: Any, address: str) -> None:
        self._calls = client.get_executor(pure=False)
        self._call = _call_by_value()
        self._killed = importlib.import_module("distributed.scheduler").KilledWorker
        self._address = address
        self._threads = ThreadPoolExecutor(_MAX_UNDER_WAY, thread_name_prefix="cluster")
        self._turn = threading.Condition()
        self._num_running = 0
        self._is_one_alone = False

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> "Future[Result]":
        """Have a call of a function made that workers can import."""
        return self._threads.submit(self._run, fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop waiting for calls; the workers stay."""
        self._calls.shutdown(wait=False)
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _run(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
        for is_alone in (False, True):
            try:
                with self._counted(is_alone=is_alone):
                    pickled = pickle.dumps((fn, args, kwargs))
                    return self._calls.submit(self._call, str(REPOSITORY), pickled).result()
            except self._killed as error:
                logger.warning("prepare: workers died at %s: %s", describe_call(args), error)
            except CancelledError as error:
                raise RuntimeError(
                    f"prepare: the scheduler {self._address} has let {describe_call(args)} go; "
                    "expected it to run; look at its log, start it, run again: what is finished "
                    "is kept."
                ) from error
        raise WorkerDiedError(
            f"prepare: workers of {self._address} died again and again at {describe_call(args)}; "
            "expected it to finish; mend or remove what it reads, or give workers more memory."
        )

    @contextmanager
    def _counted(self, *, is_alone: bool) -> Iterator[None]:
        with self._turn:
            self._turn.wait_for(
                lambda: not self._is_one_alone and not (is_alone and self._num_running)
            )
            self._num_running += 1
            self._is_one_alone = is_alone
        try:
            yield
        finally:
            with self._turn:
                self._num_running -= 1
                self._is_one_alone = False
                self._turn.notify_all()


def look_around(work: Path, root: Path, mark: str) -> list[str]:
    """Tell what a worker misses; called on each worker.

    Arguments
    ---------
    work : Path
        The work folder.
    root : Path
        The corpus.
    mark : str
        Name of a file in the work folder.

    Returns
    -------
    list[str]
        What is not there, or cannot be done.
    """
    missing = [] if root.exists() else [f"no {root}"]
    if not wait_for((work / mark).is_file, folder=work, timeout_s=_SEEN_S if work.exists() else 0):
        return [*missing, f"no {work}"]
    try:
        trial = work / f"{mark}-{uuid.uuid4().hex[:12]}"
        trial.touch()
        trial.unlink()
    except OSError as error:
        missing.append(f"cannot write to {work}: {error}")
    return missing


def _call_by_value() -> Callable[[str, bytes], Any]:
    """Return a function that Dask sends as code, as it has no name in a module.

    So the scheduler needs to import nothing of ours, and a worker finds this repository.
    """

    def call(repository: str, pickled: bytes) -> Any:
        import pickle
        import sys

        if repository not in sys.path:
            sys.path.append(repository)
        fn, args, kwargs = pickle.loads(pickled)
        return fn(*args, **kwargs)

    return call


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    distributed = _import_distributed()
    if scheduler.endswith(".json"):
        if not Path(scheduler).is_file():
            raise FileNotFoundError(
                f"prepare: no scheduler file {scheduler}; expected what `dask scheduler "
                "--scheduler-file` wrote; start the scheduler or mend the path."
            )
        place = {"scheduler_file": scheduler}
    elif _ADDRESS.fullmatch(scheduler):
        place = {"address": scheduler}
    else:
        raise ValueError(
            f"prepare: scheduler is {scheduler!r}; expected an address such as tcp://node7:8786, "
            "or a scheduler file whose name ends in .json; correct it."
        )
    try:
        client = distributed.Client(**place, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RuntimeError(
            f"prepare: no Dask scheduler at {scheduler} within {CONNECT_S} s "
            f"({type(error).__name__}: {error}); expected one to run; start it (dask scheduler) "
            "or correct scheduler."
        ) from error
    with client:
        yield client


def _import_distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise RuntimeError(
            f"prepare: scheduler needs the package distributed ({error}); expected it to be "
            "installed; pip install -r requirements-extras.txt."
        ) from error


def _check_workers(client: Any, scheduler: str, *, work: Path, root: Path) -> None:
    if not client.scheduler_info()["workers"]:
        logger.info("prepare: the cluster %s has no workers yet; waits for the first", scheduler)
    client.wait_for_workers(1)
    mark = work / f"look{TEMPORARY_MARK}{uuid.uuid4().hex[:12]}"
    mark.touch()
    try:
        pickled = pickle.dumps((look_around, (work, root, mark.name), {}))
        answers = client.run(_call_by_value(), str(REPOSITORY), pickled)
    except ImportError as error:
        raise RuntimeError(
            f"prepare: workers of {scheduler} cannot import what they need ({error}); expected "
            f"this environment, and {REPOSITORY} on each node; restart the workers in it."
        ) from error
    finally:
        mark.unlink()
    faults = [f"{worker}: {', '.join(missing)}" for worker, missing in answers.items() if missing]
    if faults:
        raise RuntimeError(
            f"prepare: {len(faults)} of {len(answers)} workers of {scheduler} do not see what they "
            f"need: {'; '.join(sorted(faults)[:5])}; expected corpus and output folder on a file "
            "system that all nodes share, under the same paths; mount it or take other folders."
        )


@contextmanager
def _cluster_crew(client: Any, scheduler: str) -> Iterator[Crew]:
    threads = client.nthreads()
    before = _count_lost(client)
    workers = ClusterWorkers(client, scheduler)
    try:
        yield Crew(
            workers,
            ahead=min(max(2 * sum(threads.values()), 16), _MAX_UNDER_WAY),
            title=f"Dask cluster {scheduler} ({len(threads)} workers at the start)",
            num_deaths=lambda: _count_lost(client) - before,
        )
    finally:
        workers.shutdown(cancel_futures=True)


def _count_lost(client: Any) -> int:
    """Count workers that the scheduler has lost while they had work."""
    events = [event for _, event in client.get_events("all")]
    lost = [event for event in events if event.get("action") == "remove-worker"]
    return sum(bool(event["processing-tasks"]) and not event["expected"] for event in lost)
