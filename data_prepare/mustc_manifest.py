"""Write MuST-C as a manifest of JSON lines, for tools that read no shards.

python -m data_prepare.mustc_manifest /corpora/MuST-C/en-de work/mustc_de.jsonl
"""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from data_prepare.command_line import run_command
from data_prepare.files import atomic_path
from data_prepare.filters import RejectionCounts, check_rejected_share
from data_prepare.mustc import MustCOptions, check_complete, open_mustc
from data_prepare.mustc_source import WHERE, MustCSource, num_frames
from data_prepare.options import make_options
from data_prepare.scan import filtered, write_rejections
from data_prepare.translation_text import SourceForm
from data_prepare.utterance import Utterance

logger = logging.getLogger(__name__)


def write_manifest(  # noqa: PLR0913 - the options of a command
    data_folder: str | Path,
    path: str | Path,
    *,
    language: str | None = None,
    splits: tuple[str, ...] = (),
    source_form: SourceForm = "fixed",
    origin: str = "",
    min_frames: int = 5,
    max_frames: int = 3000,
    min_char_ratio: float | None = None,
    max_char_ratio: float | None = None,
    max_rejected_share: float = 0.2,
    allow_incomplete: bool = False,
) -> Path:
    """Write the utterances that `prepare_mustc` takes as JSON lines, without any audio.

    What is left out is listed beside the file in <name>.rejected.jsonl, and counted by reason.

    A line has path, start, end (seconds), text (the translation), source (the transcript),
    n_frames, speaker, languages and split of an utterance. `data_prepare.manifest` reads it; its
    option `keep` takes the columns source, source_language, origin and n_frames along.

    Arguments
    ---------
    data_folder : str | Path
        The folder ``en-<language>``, or the one above it with `language` given; or a flat tree.
    path : str | Path
        The file, .jsonl. Recordings are named by their full paths.
    language : str | None
        As in `MustCOptions`, like all that follow; the only one that is there if not given.
    splits : tuple[str, ...]
        By their names on disk; with none given, all that are there.
    source_form : SourceForm
        Of the transcripts.
    origin : str
        Of the translations, such as human or mt.
    min_frames : int
        Of a training utterance, each of 10 ms.
    max_frames : int
        Of a training utterance.
    min_char_ratio : float | None
        Of a training utterance's translation to its transcript; published: 0.8.
    max_char_ratio : float | None
        Published: 1.6.
    max_rejected_share : float
        Stop if more than this share of the utterances is rejected, 0 to 1.
    allow_incomplete : bool
        Go on without the segments of other splits than training that cannot be taken.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileNotFoundError
        If there is no split, or one that was asked for is absent.
    ValueError
        As for `prepare_mustc`; an older file stays then.
    """
    values = {
        "language": language,
        "splits": splits,
        "source_form": source_form,
        "origin": origin,
        "min_frames": min_frames,
        "max_frames": max_frames,
        "min_char_ratio": min_char_ratio,
        "max_char_ratio": max_char_ratio,
        "max_rejected_share": max_rejected_share,
        "allow_incomplete": allow_incomplete,
    }
    options = make_options(MustCOptions, values, where=WHERE)
    source = open_mustc(data_folder, options)
    check_complete(source, options)
    path = Path(path)
    listing = path.with_name(f"{path.stem}.rejected.jsonl")
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        counts, num_kept = _write_records(source, options, file, listing)
        check_rejected_share(
            counts.faults, num_kept=num_kept, max_share=max_rejected_share, listing=str(listing)
        )
        if num_kept == 0:
            raise ValueError(f"{WHERE}: no utterance is left; expected one; look into {listing}.")
    logger.info(
        "%s: %d utterances; rejected: %s; left out: %s (listed in %s)",
        path, num_kept, dict(counts.faults), dict(counts.choices), listing,
    )  # fmt: skip
    return path


def _write_records(
    source: MustCSource, options: MustCOptions, file: TextIO, listing: Path
) -> tuple[RejectionCounts, int]:
    """Write what is kept and list what is not; returns counts of the latter and of the former."""
    counts, num_kept = RejectionCounts(), 0
    with listing.open("w", encoding="utf-8", newline="\n") as rejected:
        for talk in source.tasks():
            scan = filtered(source.read(talk), options.filters)
            counts.add(scan.rejected)
            write_rejections(rejected, scan.rejected)
            num_kept += len(scan.utterances)
            for utterance in scan.utterances:
                file.write(json.dumps(_record(utterance, source.root), ensure_ascii=False) + "\n")
    return counts, num_kept


def _record(utterance: Utterance, root: Path) -> dict[str, Any]:
    record = asdict(utterance)
    start_s, end_s = record.pop("start_s"), record.pop("end_s")
    record |= {"path": str(root / record.pop("recording")), **record.pop("notes")}
    return record | {"start": start_s, "end": end_s, "n_frames": num_frames(end_s - start_s)}


if __name__ == "__main__":
    from data_prepare import mustc_manifest  # as the other preparers: by its full name

    sys.exit(run_command(mustc_manifest.write_manifest, sys.argv[1:]))
