"""Write MuST-C as a manifest of JSON lines, for tools that read no shards.

python -m data_prepare.mustc_manifest /corpora/MuST-C/en-de work/mustc_de.jsonl
"""

import json
import sys
from pathlib import Path

from data_prepare.command_line import run_command
from data_prepare.files import atomic_path
from data_prepare.mustc import MustCOptions, open_mustc
from data_prepare.mustc_source import WHERE
from data_prepare.options import make_options
from data_prepare.translation_text import SourceForm


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
) -> Path:
    """Write the utterances that `prepare_mustc` takes as JSON lines, without any audio.

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

    Returns
    -------
    Path
        The file.
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
    }
    source = open_mustc(data_folder, make_options(MustCOptions, values, where=WHERE))
    path = Path(path)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for record in source.manifest():
            record["path"] = str(source.root / record["path"])
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return path


if __name__ == "__main__":
    from data_prepare import mustc_manifest  # as the other preparers: by its full name

    sys.exit(run_command(mustc_manifest.write_manifest, sys.argv[1:]))
