"""LibriSpeech in the form of MLPerf Training's RNN-T: WAV files and a JSON manifest of each subset.

    python -m data_prepare.librispeech_exchange /corpora/LibriSpeech --num_jobs 16
    python -m data_prepare.librispeech_exchange /corpora/LibriSpeech --shards work/shards

A form to exchange data with programs of that benchmark; this project trains from shards, which
`--shards` makes of the same corpus. For each subset there come to lie in the corpus's folder
`<subset>-wav/<speaker>/<chapter>/<id>.wav`, and `librispeech-<subset>-wav.json`: a list with
`transcript` (lower case), `files` (name relative to the folder, speed, duration, ...),
`original_duration` and `original_num_samples` of each utterance.
"""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import soundfile

from data_prepare.command_line import run_command
from data_prepare.files import atomic_path, write_json
from data_prepare.librispeech import SUBSETS, prepare_librispeech

TRAIN_SUBSETS = ("train-clean-100", "train-clean-360", "train-other-500")
_WHERE = "librispeech_exchange"
_CHAPTERS_PER_TASK = 8


def manifest_name(subset: str) -> str:
    """Return the name of a subset's manifest."""
    return f"librispeech-{subset}-wav.json"


def write_exchange(
    data_folder: str | Path,
    *,
    subsets: tuple[str, ...] = (),
    num_jobs: int = 1,
    shards: Path | None = None,
) -> list[Path]:
    """Write WAV files and manifests of the subsets that are there; finished ones are kept.

    Arguments
    ---------
    data_folder : str | Path
        The folder with the subsets.
    subsets : tuple[str, ...]
        Subsets to take; none given: all that are there.
    num_jobs : int
        Processes.
    shards : Path | None
        Make this project's shards there too: the training subsets as one split.

    Returns
    -------
    list[Path]
        The manifests.

    Raises
    ------
    FileNotFoundError
        If a subset that was asked for is absent, or none is there.
    """
    root = Path(data_folder)
    found = [name for name in subsets or SUBSETS if (root / name).is_dir()]
    absent = sorted(set(subsets) - set(found))
    if absent or not found:
        raise FileNotFoundError(
            f"{_WHERE}: {root} lacks {', '.join(absent or SUBSETS)}; expected folders of that "
            "name; download them: python -m data_prepare.librispeech_archives"
        )
    manifests = []
    for subset in found:
        path = root / manifest_name(subset)
        if not path.is_file():
            write_json(path, convert_subset(root, subset, num_jobs=num_jobs))
        manifests.append(path)
    if shards is not None:
        trained = [name for name in TRAIN_SUBSETS if name in found]
        prepare_librispeech(
            root,
            shards,
            subsets=tuple(subsets),
            merge={"train": "+".join(trained)} if trained else {},
            num_jobs=num_jobs,
        )
    return manifests


def convert_subset(root: Path, subset: str, *, num_jobs: int) -> list[dict[str, Any]]:
    """Write a subset's WAV files; return its manifest, sorted by name."""
    chapters = sorted((root / subset).glob("*/*/*.trans.txt"))
    tasks = [(root, subset, path) for path in chapters]
    if num_jobs == 1:
        rows = [convert_chapter(task) for task in tasks]
    else:
        with ProcessPoolExecutor(num_jobs) as pool:
            rows = list(pool.map(convert_chapter, tasks, chunksize=_CHAPTERS_PER_TASK))
    return [row for chapter in rows for row in chapter]


def convert_chapter(task: tuple[Path, str, Path]) -> list[dict[str, Any]]:
    """Write the WAV files of a chapter; return its part of the manifest."""
    root, subset, transcripts = task
    folder = root / f"{subset}-wav" / transcripts.parent.relative_to(root / subset)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for identifier, text in read_transcripts(transcripts):
        source = transcripts.with_name(f"{identifier}.flac")
        target = folder / f"{identifier}.wav"
        if not target.is_file():
            samples, rate_hz = soundfile.read(source, dtype="int16")
            with atomic_path(target) as temporary:
                soundfile.write(temporary, samples, rate_hz, format="WAV", subtype="PCM_16")
        made = soundfile.info(target)
        rows.append(manifest_row(target.relative_to(root), text, made.frames, made.samplerate))
    return rows


def read_transcripts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield id and lower-case text of each line of a chapter's transcripts."""
    for line in path.read_text(encoding="utf-8").splitlines():
        identifier, _, text = line.strip().partition(" ")
        if identifier:
            yield identifier, text.lower().strip()


def manifest_row(name: Path, text: str, num_samples: int, rate_hz: int) -> dict[str, Any]:
    """Return an utterance's entry in the manifest."""
    duration = num_samples / rate_hz
    file = {
        "channels": 1,
        "sample_rate": float(rate_hz),
        "bitdepth": 16,
        "bitrate": float(16 * rate_hz),
        "duration": duration,
        "num_samples": num_samples,
        "encoding": "Signed Integer PCM",
        "silent": False,
        "fname": name.as_posix(),
        "speed": 1,
    }
    return {
        "transcript": text,
        "files": [file],
        "original_duration": duration,
        "original_num_samples": num_samples,
    }


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """Return `fname` (of the last of its files), `duration_s` and `transcript` of each utterance.

    Arguments
    ---------
    path : Path
        A manifest of the benchmark's form.

    Returns
    -------
    list[dict[str, Any]]
        In the manifest's order.
    """
    return [
        {
            "fname": entry["files"][-1]["fname"],
            "duration_s": entry["original_duration"],
            "transcript": entry["transcript"],
        }
        for entry in json.loads(path.read_text(encoding="utf-8"))
    ]


if __name__ == "__main__":
    from data_prepare import librispeech_exchange as module

    sys.exit(run_command(module.write_exchange, sys.argv[1:]))
