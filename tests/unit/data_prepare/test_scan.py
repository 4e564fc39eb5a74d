import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prepare.corpus_plan import Division, make_plan
from data_prepare.executors import Crew
from data_prepare.filters import Filters, Rejection
from data_prepare.librispeech import ChapterTask
from data_prepare.options import CommonOptions
from data_prepare.pool import SerialExecutor
from data_prepare.scan import decode_row, encode_row, scan_corpus, stable_hash
from data_prepare.selection import Selection
from data_prepare.sources import Scan
from data_prepare.utterance import Utterance

FILTERS = Filters(0.0, 100.0, 0.0, 1e9, (), allow_empty_text=False)


class ListSource:
    """A source in memory: five utterances of 60 s a task."""

    root = Path("/nowhere")

    def __init__(self, num_tasks, *, same_ids=False):
        self.num_tasks = num_tasks
        self.same_ids = same_ids
        self.read_tasks = []

    def tasks(self):
        return [ChapterTask(f"t{n}", "", "", "train") for n in range(self.num_tasks)]

    def read(self, task):
        self.read_tasks.append(task.id)
        utterances = [
            Utterance(
                id=f"{'t' if self.same_ids else task.id}-{n}",
                recording="r",
                start_s=60.0 * n,
                end_s=60.0 * n + 60,
                text=f"é {n}",
                speaker="" if n == 0 else f"s{n}",
                group=task.id,
                category="ab"[n % 2],
                split="train",
            )
            for n in range(5)
        ]
        return Scan(utterances, [Rejection(f"{task.id}-x", "broken", "")])

    def fingerprint(self):
        return "0"


def scan(source, folder, **changes):
    options = {"filters": FILTERS, "selection": Selection(), "seed": 1, "ahead": 0}
    return scan_corpus(source, folder, SerialExecutor(), **options | changes, progress=False)


def test_stable_hash_is_the_same_for_ever():
    assert stable_hash(1234, "84-121123-0001") == 0x10CA0FF4BC3633C9
    assert stable_hash(1, "a") == stable_hash(1, "a") != stable_hash(2, "a")


def test_row_written_reads_back():
    utterance = Utterance(
        "é/\n1", "a\tb.wav", 0.1, 1 / 3, 'x "y" \u2028', "s", "g", "c", "fi", None
    )
    assert decode_row(encode_row(utterance)) == utterance
    assert encode_row(utterance).count(b"\n") == 1
    noted = replace(utterance, notes={"ends_ms": [1, 2.5]})
    assert decode_row(encode_row(noted)) == noted
    assert len(json.loads(encode_row(utterance))) == len(json.loads(encode_row(noted))) - 1


def test_scan_columns_fit_the_list(tmp_path):
    corpus = scan(ListSource(3), tmp_path)
    data = (tmp_path / "utterances.jsonl").read_bytes()
    rows = [decode_row(data[int(offset) :].split(b"\n", 1)[0]) for offset in corpus.offsets]
    assert [row.id for row in rows] == [f"t{t}-{n}" for t in range(3) for n in range(5)]
    assert [corpus.group_names[g] for g in corpus.groups] == [row.group for row in rows]
    assert [corpus.category_names[c] for c in corpus.categories] == [row.category for row in rows]
    assert corpus.speakers.tolist()[:6] == [-1, 0, 1, 2, 3, -1]
    assert corpus.seconds.tolist() == [60.0] * 15
    assert corpus.counts.faults == {"broken": 3}


def test_scan_stops_when_the_hours_are_found(tmp_path):
    source = ListSource(10)
    corpus = scan(source, tmp_path, selection=Selection(12 / 60))
    assert source.read_tasks == ["t0", "t1", "t2"]
    assert corpus.counts.choices == {"not_needed": 7}
    lines = (tmp_path / "rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [
        "t0-x", "t1-x", "t2-x", *(f"t{n}" for n in range(3, 10)),
    ]  # fmt: skip


def test_make_plan_repeated_ids_raise_and_are_named(tmp_path):
    options = CommonOptions(progress=False, max_rejected_share=1.0, min_chars_per_s=0.0)
    with pytest.raises(ValueError, match=r"5 ids occur more than once: \['t-0', 't-1'"):
        make_plan(
            ListSource(3, same_ids=True),
            tmp_path,
            Crew(SerialExecutor(), ahead=0, title="", num_deaths=lambda: 0),
            options=options,
            division=Division(),
            selection=Selection(),
        )


@pytest.mark.parametrize("num_tasks", [0, 1])
def test_scan_small_corpora(tmp_path, num_tasks):
    corpus = scan(ListSource(num_tasks), tmp_path)
    assert len(corpus.seconds) == 5 * num_tasks
    assert corpus.hashes.dtype == np.uint64
