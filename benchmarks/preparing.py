"""Measure how many hours of audio one core prepares in a minute, beside lhotse and scripts.

    python -m benchmarks.preparing
    FFMPEG=/path/to/ffmpeg python -m benchmarks.preparing
    python -m benchmarks.preparing --quick

Two synthetic corpora: calls of half an hour (WAV and MP3; 8, 16 and 32 kHz; one and two channels)
that are cut into utterances, and short WAV files that are utterances. Each contestant makes shards
of 16 kHz mono FLAC from the recordings, in one process, in turn. Ours begins with transcripts, and
filters, splits, checks and indexes; the others get the list of utterances that ours found.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.contestant import Contestant
from benchmarks.loading_corpus import stored_utterances
from benchmarks.measuring import (
    RESULTS,
    ROOT,
    head,
    median_of,
    setting,
    spread_of,
    table,
    write_report,
)
from benchmarks.preparing_peers import CONTESTANTS, find_ffmpeg
from data_prepare.index import ShardIndex
from data_prepare.synthetic_prepare import prepare_synthetic

MODULE = "benchmarks.preparing_peers"
PACKAGES = ("soundfile", "soxr", "numpy", "torch", "lhotse")
LAYOUTS = {"calls": "bizspeech", "short": "spgispeech"}
MINUTES_PER_CALL = 30.0
ABOUT = """\
All write four TAR shards with FLAC of 16-bit samples, 16 kHz, mono, by libsndfile; one process,
one thread. The clock runs from the recordings until all files are on the disk (fsync: ours does it
itself, for the others it is done at the end); interpreter and imports at the start of the process
do not count. Before the repeats each contestant runs once unmeasured, so
that the page cache holds the recordings.

- **ours**: the preparer (`data_prepare.bizspeech`, `data_prepare.spgispeech`), `num_jobs` 1: reads
  transcripts and headers, filters, plans, makes shards in a shuffled order with checksums and the
  index, and the summary with its plot.
- **lhotse**: `Recording.from_file`, `CutSet.from_manifests`, `trim_to_supervisions`, `resample`,
  `to_shar` with FLAC. It takes the first of several channels; all others average them.
- **plain**: a script: soundfile decodes a whole recording into memory, numpy averages, soxr
  converts it at once; pieces are cut, encoded and added by tarfile.
- **ffmpeg**: the same script with one ffmpeg a recording for decoding, averaging and converting.
"""


def make_corpora(work: Path, hours: float) -> dict[str, Path]:
    """Speak both corpora, or find them; returns their folders."""
    made = prepare_synthetic(
        work / "raw",
        hours=hours,
        spgispeech_hours=hours,
        layouts=tuple(LAYOUTS.values()),
        minutes_per_call=min(MINUTES_PER_CALL, 10 * hours),
        dirt=0.0,
        num_jobs=2,
        progress=False,
    )
    return {corpus: made[layout] for corpus, layout in LAYOUTS.items()}


def write_list(prepared: Path, raw: Path, listing: Path) -> None:
    """Write which utterances our preparer took, for the others."""
    lines = []
    for stored in stored_utterances(ShardIndex.load(prepared / "train")):
        meta = stored.meta
        line = {name: meta[name] for name in ("text", "speaker", "start_s", "end_s")}
        lines.append(line | {"key": stored.key, "path": str(raw / meta["source"])})
    listing.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def measure(args: argparse.Namespace, corpora: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Prepare each corpus with each contestant in turn; the first round only warms up."""
    rows = []
    with ExitStack() as stack:
        running = {n: stack.enter_context(Contestant(MODULE, [n])) for n in args.contestants}
        for corpus, raw in corpora.items():
            listing = args.work / f"{corpus}.jsonl"
            for repeat in range(-1, args.repeats):
                for name in _rotated(args.contestants, repeat):
                    out = args.work / "out" / f"{corpus}-{name}"
                    request = {"corpus": corpus, "raw": str(raw), "out": str(out)}
                    row = running[name].ask(request | {"listing": str(listing)})
                    if name == "ours" and repeat < 0:
                        write_list(out, raw, listing)
                    if repeat >= 0:
                        rows.append({"corpus": corpus, "contestant": name, "repeat": repeat} | row)
                print(f"{corpus}: round {repeat + 1} of {args.repeats} done", flush=True)
    return rows


def _rotated(names: Sequence[str], repeat: int) -> list[str]:
    """Return the names beginning with another each time; ours first in the first round."""
    turn = max(0, repeat) % len(names)
    return [*names[turn:], *names[:turn]]


def check(rows: Sequence[Mapping[str, Any]]) -> None:
    """Stop unless all made the same utterances of a corpus, and the same seconds within 0.1 %."""
    for row in rows:
        ours = next(r for r in rows if (r["corpus"], r["contestant"]) == (row["corpus"], "ours"))
        if (
            row["utterances"] != ours["utterances"]
            or abs(row["audio_s"] / ours["audio_s"] - 1) > 1e-3
        ):
            raise RuntimeError(
                f"preparing: {row['contestant']} made {row['utterances']} utterances, "
                f"{row['audio_s']:.1f} s; expected {ours['utterances']}, {ours['audio_s']:.1f} s."
            )


def report(record: Mapping[str, Any]) -> list[str]:
    """Return the lines of the report."""
    lines = [*head("Preparing", record), ABOUT]
    if "ffmpeg" not in record["contestants"]:
        lines += ["ffmpeg: not measured, there is no such program here.", ""]
    for corpus in dict.fromkeys(row["corpus"] for row in record["runs"]):
        rows = [row for row in record["runs"] if row["corpus"] == corpus]
        hours = rows[0]["audio_s"] / 3600
        lines += [f"## {corpus}: {rows[0]['utterances']} utterances, {hours:.2f} h", ""]
        lines += _table(rows, record["contestants"], hours)
    return lines


def _table(rows: Sequence[Mapping[str, Any]], names: Sequence[str], hours: float) -> list[str]:
    header = ["contestant", "h of audio/min", "ours is faster by", "wall s", "range", "CPU s"]
    by_name = {name: [row for row in rows if row["contestant"] == name] for name in names}
    ours_s = median_of(by_name["ours"], "wall_s") or 0.0
    cells = []
    for name, some in by_name.items():
        seconds = median_of(some, "wall_s") or 1.0
        ratio = f"{seconds / ours_s:.2f}" if ours_s else ""
        speed, cpu_s = f"{60 * hours / seconds:.2f}", f"{median_of(some, 'cpu_s'):.2f}"
        mib = f"{some[0]['mib']:.1f}"
        cells.append([name, speed, ratio, f"{seconds:.2f}", spread_of(some, "wall_s"), cpu_s, mib])
    return table([*header, "MiB"], cells)


def main(argv: Sequence[str]) -> int:
    """Measure and write the report."""
    args = parse(argv)
    corpora = make_corpora(args.work, args.hours)
    shutil.rmtree(args.work / "out", ignore_errors=True)
    (args.work / "out").mkdir(parents=True)
    record = setting("preparing", argv, PACKAGES)
    rows = measure(args, corpora)
    shutil.rmtree(args.work / "out")
    check(rows)
    record |= {"contestants": args.contestants, "ffmpeg": find_ffmpeg(), "runs": rows}
    path = write_report(args.results, "preparing", record, report(record))
    print(path.read_text(encoding="utf-8"))
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--hours", type=float, default=4.0, help="length of each corpus")
    add("--repeats", type=int, default=3)
    add("--contestants", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    add("--work", type=Path, help="where the corpora lie or are made")
    add("--results", type=Path, default=RESULTS)
    add("--quick", action="store_true", help="tiny corpora, one repeat: shows that all works")
    args = parser.parse_args(argv)
    if args.quick:
        args.hours, args.repeats = 0.03, 1
    if find_ffmpeg() is None:
        args.contestants = [name for name in args.contestants if name != "ffmpeg"]
    if args.contestants[0] != "ours":
        parser.error("contestants must begin with ours: it finds the list of utterances")
    work = ROOT / "runs" / "benchmarks" / f"preparing-{args.hours:g}h"
    args.work = (args.work or work).resolve()
    return args


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
