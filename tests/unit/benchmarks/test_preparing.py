"""The preparing benchmark in its smallest form: every contestant makes the same utterances."""

import json
from pathlib import Path

import pytest

from benchmarks import preparing
from benchmarks.preparing_peers import CONTESTANTS, find_ffmpeg, run
from tests.unit.data_prepare.raw_corpora import write_bizspeech

NAMES = [name for name in CONTESTANTS if name != "ffmpeg" or find_ffmpeg()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A raw corpus with the rates and channels that must be converted, and room for results."""
    work = tmp_path_factory.mktemp("preparing")
    raw = write_bizspeech(work / "raw", num_calls=2, rate_hz=8000, channels=2, num_rows=4)
    return raw, work


def test_contestants_make_the_same_utterances(corpus):
    raw, work = corpus
    listing, rows = work / "list.jsonl", []
    for name in NAMES:
        out = work / f"out-{name}"
        request = {"corpus": "calls", "raw": str(raw), "out": str(out), "listing": str(listing)}
        rows.append(run(name, request) | {"corpus": "calls", "contestant": name})
        if name == "ours":
            preparing.write_list(out, raw, listing)
    preparing.check(rows)
    assert rows[0]["utterances"] == 8
    with pytest.raises(RuntimeError, match=f"{NAMES[-1]} made 9 utterances"):
        preparing.check([*rows[:-1], rows[-1] | {"utterances": 9}])


@pytest.mark.multiproc
def test_command_writes_a_report(corpus, tmp_path, monkeypatch):
    raw, _ = corpus
    monkeypatch.setattr(preparing, "make_corpora", lambda *_: {"calls": raw})
    options = ["--quick", "--contestants", "ours", "plain"]
    work, results = tmp_path / "work", tmp_path / "results"
    assert preparing.main([*options, "--work", str(work), "--results", str(results)]) == 0
    (path,) = results.glob("*-preparing.json")
    assert [row["utterances"] for row in json.loads(path.read_text())["runs"]] == [8, 8]
    assert "| plain |" in path.with_suffix(".md").read_text()
