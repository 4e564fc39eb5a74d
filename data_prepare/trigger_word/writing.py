"""Mix the clips of all splits in several threads; what a stopped run has finished stays."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_prepare.audio import encode_flac
from data_prepare.files import atomic_path, remove_temporaries, write_json
from data_prepare.trigger_word.clips import Clip, ClipMaker

_RECORDS_FOLDER = "records"


def mix_clips(
    folder: Path,
    work: Path,
    makers: Mapping[str, ClipMaker],
    counts: Mapping[str, int],
    *,
    num_jobs: int,
    progress: bool,
) -> list[dict[str, Any]]:
    """Mix the clips that are not there yet and write each as <split>/<id>.flac.

    A clip with a record in the work folder is finished: it is written first, the record then.

    Arguments
    ---------
    folder : Path
        Gets the clips.
    work : Path
        Gets a record for each clip.
    makers : Mapping[str, ClipMaker]
        Split to what mixes its clips.
    counts : Mapping[str, int]
        Split to its number of clips.
    num_jobs : int
        Threads that mix.
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of dict
        The lines of the manifest, by split and number.
    """
    jobs = [(split, number) for split, count in counts.items() for number in range(count)]
    records = work / _RECORDS_FOLDER
    for place in (records, *(folder / split for split in counts)):
        place.mkdir(parents=True, exist_ok=True)
        remove_temporaries(place)

    def make(job: tuple[str, int]) -> dict[str, Any]:
        return _write(folder, records, makers[job[0]], job[1])

    with ThreadPoolExecutor(num_jobs) as pool:
        made: Iterator[dict[str, Any]] = pool.map(make, jobs)
        return list(tqdm(made, total=len(jobs), desc="mixing", unit="clip", disable=not progress))


def _write(folder: Path, records: Path, maker: ClipMaker, number: int) -> dict[str, Any]:
    name = f"{maker.split}-{number:06d}"
    record_path = records / f"{name}.json"
    if record_path.is_file():
        found: dict[str, Any] = json.loads(record_path.read_text(encoding="utf-8"))
        return found
    clip: Clip = maker.make(number)
    data = encode_flac(clip.samples, rate_hz=maker.options.rate_hz)
    with atomic_path(folder / maker.split / f"{name}.flac") as path:
        path.write_bytes(data)
    record = {
        "id": name,
        "path": f"{maker.split}/{name}.flac",
        "text": "",
        "split": maker.split,
        "duration": maker.options.clip_s,
        **clip.record(),
    }
    write_json(record_path, record)
    return record
