"""The report of `benchmarks.loading`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measuring import head, median_of, spread_of, table

Row = Mapping[str, Any]
ABOUT = """\
What is the same for all: the same utterances as the same FLAC files, decoded by soundfile to
float32 in [-1, 1) (ours by libsndfile itself), padded with zeros to the longest
of the batch, texts and speakers beside them, in a shuffled order; each pass is checked to hold
every utterance once and all of the audio. The clock runs from the request for the first batch to
the end of the pass: the start of loader workers counts, reading the index or manifest (`made`)
does not. One contestant at a time; torch and the decoders use one thread a process.

- **ours**: `ShardLoader`, defaults; batches planned from the index, bounded padded seconds.
- **webdataset**: the same TAR files; shards and a buffer of 1,000 utterances shuffled, stock
  decoders for JSON; a fixed number of utterances a batch, so that a batch has as many seconds of
  speech on average as the bound; it does not sort by length, see its padding.
- **lhotse**: Shar with FLAC, `DynamicBucketingSampler` with 30 buckets over a buffer of 1,000
  cuts, in the loader workers; `collate_audio`.
- **speechbrain**: loose FLAC files, `DynamicItemDataset`, `DynamicBatchSampler` with 30 buckets,
  `SaveableDataLoader`, `PaddedBatch`.
- **bare**: soundfile on bytes in memory, nothing else, in as many processes as loader workers (one
  where there are none).
"""


def report(record: Mapping[str, Any]) -> list[str]:
    """Return the lines of the report."""
    corpus = record["corpus"]
    lines = head(f"Loading, page cache {record['cache']}", record)
    lines += [
        f"Corpus: {corpus['utterances']} utterances, {corpus['hours']:.2f} h, "
        f"{corpus['shards']} shards, {corpus['mib']:.0f} MiB.",
        "",
        ABOUT,
    ]
    groups: dict[tuple[float, int], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in record["passes"]:
        groups[row["batch_s"], row["workers"]][row["contestant"]].append(row)
    bare = {workers: rows["bare"] for (_, workers), rows in groups.items() if "bare" in rows}
    lines += _summary(groups, bare)
    for (batch_s, workers), rows in groups.items():
        lines += [f"## Batches of {batch_s:g} s, {workers} loader workers", ""]
        lines += _rates(rows, bare.get(workers, []))
    lines += _memory(record["memory"])
    if record["cache"] == "cold":
        lines += _coldness(record["passes"])
    return lines + _reading(record["passes"])


def _rate(rows: Sequence[Row]) -> float:
    """Return utterances/s of the median pass."""
    seconds = median_of(rows, "wall_s")
    return rows[0]["utterances"] / seconds if seconds else 0.0


def _summary(groups: Any, bare: Mapping[int, Sequence[Row]]) -> list[str]:
    lines = []
    header = ["batch, workers", "ours / best peer", "best peer", "ours / bare decode"]
    for (batch_s, workers), rows in groups.items():
        peers = {name: _rate(r) for name, r in rows.items() if name not in ("ours", "bare")}
        if "ours" not in rows or not peers:
            continue
        best = max(peers, key=lambda name: peers[name])
        ours, decode = _rate(rows["ours"]), bare.get(workers)
        share = f"{ours / _rate(decode):.2f}" if decode else ""
        lines.append([f"{batch_s:g} s, {workers}", f"{ours / peers[best]:.2f}", best, share])
    return ["## Ours beside the others", "", *table(header, lines)]


def _rates(rows: Mapping[str, Sequence[Row]], bare: Sequence[Row]) -> list[str]:
    header = [
        *("contestant", "utterances/s", "audio h/s", "of bare", "wall s", "range", "CPU s"),
        *("first batch s", "made s", "padding %", "batches"),
    ]
    lines = []
    for name, some in sorted(rows.items(), key=lambda item: -_rate(item[1])):
        seconds = median_of(some, "wall_s") or 1.0
        padding = median_of(some, "padding_share")
        lines.append(
            [
                name,
                f"{_rate(some):.0f}",
                f"{some[0]['audio_s'] / 3600 / seconds:.3f}",
                f"{_rate(some) / _rate(bare):.2f}" if bare else "",
                f"{seconds:.2f}",
                spread_of(some, "wall_s"),
                _cell(median_of(some, "cpu_s")),
                _cell(median_of(some, "first_batch_s")),
                _cell(median_of(some, "made_s")),
                "" if padding is None else f"{100 * padding:.1f}",
                f"{some[0].get('batches', '')}",
            ]
        )
    return table(header, lines)


def _memory(rows: Sequence[Row]) -> list[str]:
    names = ("main_pss_mib", "main_uss_mib", "worker_pss_mib", "worker_uss_mib")
    header = ["contestant", "batch s", "workers", *(name.replace("_mib", " MiB") for name in names)]
    lines = [
        [row["contestant"], f"{row['batch_s']:g}", row["workers"]]
        + [f"{row[name]:.0f}" if name in row else "" for name in names]
        for row in rows
    ]
    text = (
        "Largest seen during a pass in a fresh process, interpreter and libraries included; of the "
        "loader workers the largest. PSS counts shared pages by parts, USS its own pages only."
    )
    return ["## Peak memory", "", text, "", *table(header, lines)]


def _coldness(rows: Sequence[Row]) -> list[str]:
    worst = max(row["resident_share"] for row in rows if "resident_share" in row)
    verdict = "cold" if worst < 0.01 else "NOT cold: the system kept them"
    disk = {
        name: median_of([row for row in rows if row["contestant"] == name], "disk_mib")
        for name in dict.fromkeys(row["contestant"] for row in rows)
    }
    read = ", ".join(f"{name} {_cell(mib)}" for name, mib in disk.items())
    return [
        "## Page cache",
        "",
        "Before each pass the contestant's files were dropped (posix_fadvise DONTNEED); then "
        f"mincore found at most {100 * worst:.2f} % of their pages in memory: {verdict}. A cache "
        "of the disk itself, or of a virtual machine's host, is out of reach.",
        "",
        f"MiB read from the device during a pass (by anybody), median: {read}.",
        "",
    ]


def _reading(rows: Sequence[Row]) -> list[str]:
    """Return what our loader counted: bytes read over bytes needed."""
    found = [row["statistics"] for row in rows if row["contestant"] == "ours"]
    shares = [s["num_bytes"] / s["bytes_needed"] for s in found if s.get("bytes_needed")]
    if not shares:
        return []
    return [f"Ours, bytes read / bytes needed: at most {max(shares):.4f} in a pass.", ""]


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
