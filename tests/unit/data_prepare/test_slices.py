import json
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from data_prepare import shared_folder, slices
from data_prepare.bizspeech import prepare_bizspeech
from data_prepare.prepared import PreparedCorpus, locked
from data_prepare.slices import Slice, common_step, running
from tests.unit.data_prepare.raw_corpora import contents, leave_out_plot, write_bizspeech

OPTIONS = {
    "train_share": 0.6,
    "valid_share": 0.2,
    "num_shards": {"train": 5},
    "progress": False,
}


@pytest.fixture(autouse=True)
def _no_plot(monkeypatch):
    leave_out_plot(monkeypatch)


@pytest.fixture
def raw(tmp_path):
    return write_bizspeech(tmp_path / "raw")


@pytest.fixture
def prepare(raw, tmp_path):
    """Prepare into a folder of this name."""
    return lambda name="out", **more: prepare_bizspeech(raw, tmp_path / name, **OPTIONS | more)


@pytest.mark.parametrize("text", ["3/3", "1", "-1/3", "0/0", "a/b", "1/3 ", ""])
def test_slice_parse_other_text_is_refused(text):
    with pytest.raises(ValueError, match=r"expected I/N with I from 0 to N - 1"):
        Slice.parse(text)


def test_slice_take_parts_are_all_and_apart():
    parts = [Slice.parse(f"{number}/3").take(range(8)) for number in range(3)]
    assert sorted(number for part in parts for number in part) == list(range(8))
    assert list(parts[1]) == [1, 4, 7]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_prepare_slices_in_any_order_give_the_same_bytes(prepare, tmp_path, order):
    results = [prepare(slice=f"{number}/3") for number in order]
    assert [list(corpus.splits) for corpus in results[:2]] == [[], []]
    assert list(results[2].splits) == ["train", "valid", "test"]
    prepare("whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert {path.name for path in (tmp_path / "out/.work").iterdir()} == {"lock", "ledger"}


def test_prepare_slices_at_the_same_moment_make_one_plan_and_one_index(prepare, tmp_path, caplog):
    caplog.set_level("INFO")
    starts = threading.Barrier(4)

    def run(number):
        starts.wait()
        return prepare(slice=f"{number}/4")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    messages = [record.getMessage() for record in caplog.records]
    assert sum(message.endswith("out: makes the plan") for message in messages) == 1
    assert sum("out: done" in message for message in messages) == 1
    prepare("whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_prepare_slice_again_or_after_the_end_does_nothing(prepare, tmp_path):
    prepare(slice="0/2")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("shard-*.tar")}
    assert prepare(slice="0/2").splits == {}
    finished = prepare(slice="1/2")
    assert prepare(slice="1/2") == finished == PreparedCorpus.load(tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_prepare_run_without_slice_finishes_what_slices_left(prepare, tmp_path):
    prepare(slice="1/3")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("shard-*.tar")}
    prepare()
    prepare("whole")
    assert len(times) == 2
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_prepare_more_slices_than_shards_works(prepare, tmp_path):
    for number in reversed(range(9)):
        prepare(slice=f"{number}/9")
    assert PreparedCorpus.load(tmp_path / "out").splits


def test_prepare_another_count_of_slices_goes_on(prepare, tmp_path):
    prepare(slice="0/2")
    for number in range(3):
        prepare(slice=f"{number}/3")
    prepare("whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_prepare_plan_only_then_all(prepare, tmp_path):
    assert prepare(plan_only=True).splits == {}
    assert (tmp_path / "out/.work/plan/plan.json").is_file()
    assert not list((tmp_path / "out").rglob("shard-*.tar"))
    with pytest.raises(FileNotFoundError, match="holds no finished corpus"):
        PreparedCorpus.load(tmp_path / "out")
    finished = prepare()
    assert prepare(plan_only=True) == finished


def test_prepare_slice_and_whole_at_a_time_are_refused(prepare, tmp_path):
    with locked(tmp_path / "out"), pytest.raises(RuntimeError, match="alone but for slices"):
        prepare(slice="0/2")
    with locked(tmp_path / "out", shared=True), pytest.raises(RuntimeError, match="to be alone;"):
        prepare()


def test_prepare_same_slice_or_another_count_at_a_time_are_refused(prepare, tmp_path):
    prepare(plan_only=True)
    work = tmp_path / "out/.work"
    with common_step(work, "starts") as ledger:
        alone = running(work, Slice(1, 2), ledger)
        alone.__enter__()
    with pytest.raises(RuntimeError, match="slice 1/2 is being made by another process"):
        prepare(slice="1/2")
    with pytest.raises(RuntimeError, match="slice-1-of-2 is being made; expected slices of 3"):
        prepare(slice="0/3")
    assert prepare(slice="0/2").splits == {}
    alone.__exit__(None, None, None)
    assert prepare(slice="1/2").splits


def test_prepare_slice_leaves_temporaries_of_others(prepare, tmp_path):
    prepare(plan_only=True)
    mine, other = (tmp_path / f"out/train/shard-00000{n}.tar.tmp-0123" for n in (0, 1))
    mine.touch()
    other.touch()
    prepare(slice="0/2")
    assert (mine.exists(), other.exists()) == (False, True)
    prepare(slice="1/2")
    assert not list((tmp_path / "out").rglob("*.tmp-*"))


@pytest.mark.parametrize(
    "name", ["train/shard-000002.tar", ".work/receipts/train/shard-000002.jsonl"]
)
def test_prepare_last_slice_waits_for_files_that_come_late(prepare, tmp_path, monkeypatch, name):
    prepare(slice="0/2")
    path, aside = tmp_path / "out" / name, tmp_path / "aside"
    path.rename(aside)
    waits = []

    def appear(seconds):
        waits.append(seconds)
        aside.rename(path)

    monkeypatch.setattr(shared_folder.time, "sleep", appear)
    assert prepare(slice="1/2").splits
    assert len(waits) == 1


def test_prepare_shard_that_never_appears_is_named(prepare, tmp_path, monkeypatch):
    monkeypatch.setattr(shared_folder, "VISIBLE_S", 0)
    prepare(slice="0/2")
    (tmp_path / "out/train/shard-000002.tar").unlink()
    with pytest.raises(RuntimeError, match=r"1 shards .* cannot be seen .*shard-000002.tar"):
        prepare(slice="1/2")
    assert prepare(slice="0/2").splits  # makes it again


def test_prepare_plan_that_another_node_made_is_waited_for(prepare, tmp_path, monkeypatch):
    prepare(plan_only=True)
    plan, aside = tmp_path / "out/.work/plan", tmp_path / "aside"
    plan.rename(aside)
    made = aside.stat().st_ino
    monkeypatch.setattr(shared_folder.time, "sleep", lambda _: aside.rename(plan))
    prepare(slice="0/2")
    assert plan.stat().st_ino == made


def test_common_step_rest_of_a_killed_writer_is_forgotten(tmp_path):
    (tmp_path / "ledger").write_text('{"has_plan": tr')
    with common_step(tmp_path, "tries") as ledger:
        assert not ledger.has_plan
        ledger.has_plan = True
        assert "which tries" in json.loads((tmp_path / "ledger").read_text())["holder"]
    with common_step(tmp_path, "tries") as ledger:
        assert ledger.has_plan


def test_common_step_waiting_task_says_for_whom(tmp_path, monkeypatch):
    messages = queue.Queue()
    monkeypatch.setattr(slices.logger, "info", lambda text, *args: messages.put(text % args))

    def wait():
        with common_step(tmp_path, "waits"):
            pass

    with ThreadPoolExecutor(1) as pool:
        with common_step(tmp_path, "makes the plan"):
            waiting = pool.submit(wait)
            message = messages.get(timeout=120)
        waiting.result(120)
    assert "waits for process" in message
    assert "which makes the plan" in message


def test_prepare_plan_of_other_libraries_is_refused(prepare, tmp_path):
    prepare(plan_only=True)
    path = tmp_path / "out/.work/plan/plan.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"tools": content["tools"] | {"soxr": "0.1"}}))
    with pytest.raises(RuntimeError, match=r"plan was made with .*'soxr': '0.1'"):
        prepare(slice="0/2")


def test_prepare_late_slice_on_a_node_that_sees_no_end_yet_waits(prepare, tmp_path, monkeypatch):
    prepare()
    path, aside = tmp_path / "out/summary.json", tmp_path / "aside"
    path.rename(aside)
    monkeypatch.setattr(shared_folder.time, "sleep", lambda _: aside.rename(path))
    assert prepare(slice="0/2").splits
    assert not (tmp_path / "out/.work/plan").exists()
