"""What each of two gloo processes does for test_agreement.py; each stands for a node."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from speechbrain.utils.run_opts import RunOptions

from data_prepare.files import write_json
from data_prepare.prepared import PreparedCorpus, copy_prepared
from data_prepare.stream import ShardLoader
from recipes.common.agreement import check_agreement
from recipes.common.distributed import distributed_session, gather_list, rank
from recipes.common.job import prepare_corpus
from tests.unit.data_prepare.corpora import write_split


def main(number: int, port: int, folder: Path) -> None:
    """Join the group, run every scenario in a folder of this node, leave the group."""
    os.environ.update(RANK=str(number), LOCAL_RANK="0", WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    node = folder / f"node{number}"
    node.mkdir()
    os.chdir(node)
    with distributed_session(RunOptions()):
        results = {
            "copied": copied(folder / "shards"),
            "source": source_on_one_node(folder / "shards"),
            "equal": compared(folder / "shards", seed=0),
            "seeds": compared(folder / "shards", seed=rank()),
            "stale": stale(),
        }
    torch.save(results, folder / f"rank{number}.pt")


def make_corpus(folder: Path, *, seconds: float = 0.2) -> PreparedCorpus:
    """Write a finished corpus with one split."""
    write_split(folder / "train", [[seconds], [0.1, 0.1]])
    for name in ("rejected.jsonl", "summary.png"):
        (folder / name).touch()
    write_json(folder / "options.json", {})
    write_json(folder / "summary.json", {"splits": {"train": {}}})
    return PreparedCorpus.load(folder)


def corpus_of(shards: Path, **changes: Any) -> dict[str, Any]:
    """Return a corpus of the YAML; its scratch disk is the present folder."""
    local = Path("scratch")

    def prepare() -> None:
        copy_prepared(make_corpus(shards), local)

    entries = {"make": None, "prepare": prepare, "shards_folder": shards, "local_folder": local}
    return {**entries, **changes}


def copied(shards: Path) -> list[str]:
    """Prepare on rank 0; return what is on this node's scratch disk."""
    prepare_corpus(corpus_of(shards))
    return sorted(str(path) for path in Path("scratch").rglob("*.*"))


def source_on_one_node(shards: Path) -> tuple[str, int]:
    """Prepare where only rank 1 sees the source; the exchange after it must still pair."""
    source = Path("source")
    if rank() == 1:
        source.mkdir()
    prepared = prepare_corpus(corpus_of(shards, data_folder=source))
    return prepared.folder.name, len(gather_list([0]))


def compared(split: Path, *, seed: int) -> str:
    """Compare plans; return the error."""
    data = ShardLoader(split / "train", max_batch_s=0.3, shuffle=True, seed=seed)
    valid = ShardLoader(split / "train", max_batch_s=0.3)
    try:
        check_agreement({"train": data, "valid": valid})
    except ValueError as error:
        return str(error)
    return ""


def stale() -> str:
    """Compare where rank 1's node has a copy of another corpus."""
    shutil.rmtree("scratch")
    make_corpus(Path("scratch"), seconds=0.2 + 0.1 * rank())
    return compared(Path("scratch"), seed=0)
