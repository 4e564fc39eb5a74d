"""Real processes that are killed: what was not yet saved is had again, what was saved never."""

import contextlib
import json
import os
import random
import select
import signal
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prepare.files import write_json
from data_prepare.stream import ShardLoader
from tests.unit.data_prepare.corpora import random_shards, write_split

NUM_UTTERANCES = 150
TIMEOUT_S = 240.0
RUNS = [(4, 0), (3, 1), (3, 2), (1, 1), (2, 0)]
"""Ranks, and loader workers of each, of runs that are killed one after the other."""


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shards = [*random_shards(NUM_UTTERANCES, num_shards=3), []]
    return write_split(tmp_path_factory.mktemp("corpus") / "train", shards)


@dataclass(frozen=True)
class Consumer:
    """A process that plays one rank of a training; each byte in its pipe is a saved batch."""

    pid: int
    pipe: int

    def wait_for(self, num_batches: int) -> None:
        """Wait until so many batches are saved, or the process has ended."""
        while num_batches > 0:
            ready, _, _ = select.select([self.pipe], [], [], TIMEOUT_S)
            assert ready, f"no batch within {TIMEOUT_S} s"
            found = len(os.read(self.pipe, num_batches))
            if not found:
                return
            num_batches -= found

    def end(self, sign: int) -> int:
        """Send a signal to the process and its loader workers; returns its exit code."""
        if sign:
            os.killpg(self.pid, sign)
        _, status = os.waitpid(self.pid, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # loader workers that outlived it
        os.close(self.pipe)
        return os.waitstatus_to_exitcode(status)


def start(folder: Path, split: Path, *, limit: int | None, **options: Any) -> Consumer:
    """Fork a consumer; it stands still after `limit` batches, so that a kill finds it at work."""
    pipe, end = os.pipe()
    ready, started = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            os.write(started, b".")
            consume(folder, split, end, limit=limit, **options)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - shown, then the fork ends
            traceback.print_exc()
        finally:
            os._exit(1)
    os.read(ready, 1)  # from here on it has its own process group
    for number in (end, ready, started):
        os.close(number)
    return Consumer(pid, pipe)


def consume(
    folder: Path, split: Path, pipe: int, *, limit: int | None, state: Any, **options: Any
) -> None:
    """Take batches, and save after each what was had and the position, in one file."""
    torch.set_num_threads(1)
    loader = ShardLoader(split, max_batch_s=0.8, shuffle=True, **options)
    if state is not None:
        loader.load_state_dict(state)
    for number, batch in enumerate(loader, 1):
        had = [] if batch.is_padding else batch.id
        path = folder / f"{options['rank']}-{number}.json"
        write_json(path, {"ids": had, "state": loader.state_dict()})
        os.write(pipe, b".")
        while number == limit:
            signal.pause()


def saved(folder: Path, world_size: int) -> list[list[dict[str, Any]]]:
    """What all ranks have saved, round by round: a checkpoint needs the part of every rank."""
    rounds: list[list[dict[str, Any]]] = []
    while True:
        paths = [folder / f"{rank}-{len(rounds) + 1}.json" for rank in range(world_size)]
        if not all(path.is_file() for path in paths):
            return rounds
        rounds.append([json.loads(path.read_text()) for path in paths])


def run(
    folder: Path, split: Path, world_size: int, *, rng: random.Random | None, **options: Any
) -> list[list[dict[str, Any]]]:
    """Start all ranks, kill them at a random moment or let them end; returns what was saved."""
    folder.mkdir()
    wanted = rng.randint(0, 3) if rng else NUM_UTTERANCES
    limit = wanted + rng.randint(1, 3) if rng else None
    options |= {"world_size": world_size, "limit": limit}
    ranks = [start(folder, split, rank=rank, **options) for rank in range(world_size)]
    sign = int(signal.SIGKILL)
    try:
        for consumer in ranks:
            consumer.wait_for(wanted)
        if rng:
            time.sleep(0.05 * rng.random())  # any place in the work on a batch will do
        else:
            sign = 0
    finally:
        codes = {consumer.end(sign) for consumer in ranks}
    assert codes <= ({-signal.SIGKILL, 0} if rng else {0})
    return saved(folder, world_size)


@pytest.mark.multiproc
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_killed_again_and_again_with_other_ranks_union_is_exact(split, tmp_path, seed):
    rng = random.Random(seed)
    used, state = [], None
    for number, (world_size, num_workers) in enumerate([*RUNS, (2, 1)]):
        rounds = run(
            tmp_path / str(number),
            split,
            world_size,
            rng=rng if number < len(RUNS) else None,
            state=state,
            num_workers=num_workers,
        )
        used += [i for ranks in rounds for rank in ranks for i in rank["ids"]]
        states = [json.dumps(rank["state"]) for rank in rounds[-1]] if rounds else []
        assert len(set(states)) <= 1
        state = json.loads(states[0]) if states else state
        assert len(used) == len(set(used))
    assert sorted(used) == sorted(f"utt-{n}" for n in range(NUM_UTTERANCES))


@pytest.mark.multiproc
def test_killed_rank_leaves_no_loader_worker_behind(split, tmp_path):
    options = {"rank": 0, "world_size": 1, "num_workers": 2, "state": None}
    consumer = start(tmp_path, split, limit=2, **options)
    consumer.wait_for(2)
    os.kill(consumer.pid, signal.SIGKILL)
    # Its loader workers hold the pipe too: it ends when the last of them is gone.
    consumer.wait_for(1)
    assert consumer.end(0) == -signal.SIGKILL
