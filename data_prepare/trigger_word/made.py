"""What a folder of clips holds: whether it is what is wanted, and its figures."""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prepare.trigger_word.words import SPLITS, Word

logger = logging.getLogger(__name__)

OPTIONS_NAME = "clips.json"
SPOKEN_FOLDER = "spoken"
_BEGUN_NAME = ".begun"
_OWN_FOLDERS = (SPOKEN_FOLDER, *SPLITS)
_WHERE = "trigger_word_prepare"


def is_made(folder: Path, identity: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Tell whether clips of the same options are there; make room for them if not.

    Arguments
    ---------
    folder : Path
        Of the clips.
    identity : Mapping[str, Any]
        All options, plain JSON values, and the recordings' `fingerprint`; where that is None (words
        are spoken, or recordings are gone since) it is not compared.
    overwrite : bool
        Whether clips of other options may be deleted.

    Returns
    -------
    bool
        True if there is nothing to do. Clips made before fingerprints were noted are made anew.

    Raises
    ------
    ValueError
        If clips of other options or recordings, or files of somebody else, are in the way.
    """
    path = folder / OPTIONS_NAME
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if found is not None:
        found.pop("made", None)
        wanted = json.loads(json.dumps(identity))
        is_old = "fingerprint" not in found
        if is_old or wanted["fingerprint"] is None:
            found["fingerprint"] = wanted["fingerprint"]
        if found == wanted and not (is_old and wanted["fingerprint"]):
            return True
        if found == wanted:
            logger.warning(
                "%s does not tell which recordings its clips were mixed from: they are mixed anew; "
                "shards made of them have to be made anew, too",
                path,
            )
        elif not overwrite:
            raise ValueError(_difference(path, found, wanted))
    _make_room(folder, is_ours=found is not None)
    return False


def _make_room(folder: Path, *, is_ours: bool) -> None:
    """Delete what was made or begun here; other files stay, and are an error."""
    is_ours |= (folder / _BEGUN_NAME).is_file()
    there = [name for name in _OWN_FOLDERS if (folder / name).exists()]
    if there and not is_ours:
        raise ValueError(
            f"{_WHERE}: {folder} holds {', '.join(there)}, not made here; expected a free place; "
            "choose another out_folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _BEGUN_NAME).touch()
    (folder / OPTIONS_NAME).unlink(missing_ok=True)
    for name in there:
        shutil.rmtree(folder / name)


def _difference(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    keys = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
    faults = [f"{key} was {found.get(key)!r}, now {wanted.get(key)!r}" for key in keys]
    return (
        f"{_WHERE}: {path} tells of other options ({'; '.join(faults)}); expected the same; give "
        "another out_folder, or overwrite to delete what is there."
    )


def figures_of(records: Sequence[Mapping[str, Any]], words: Sequence[Word]) -> dict[str, Any]:
    """Return what was made, by split: recordings, clips, hours, words, what was left out.

    Arguments
    ---------
    records : Sequence[Mapping[str, Any]]
        Lines of the manifest.
    words : Sequence[Word]
        The recordings that they were mixed from.

    Returns
    -------
    dict
        Split to its figures; they are logged, too.
    """
    figures: dict[str, Any] = {}
    for split in dict.fromkeys(record["split"] for record in records):
        own = [record for record in records if record["split"] == split]
        figures[split] = {
            "recordings": dict(Counter(word.role for word in words if word.split == split)),
            "clips": len(own),
            "hours": round(sum(record["duration"] for record in own) / 3600, 4),
            "triggers": sum(len(record["trigger_ends_ms"]) for record in own),
            "negatives": sum(len(record["negative_spans_ms"]) for record in own),
            "left_out": sum(record["num_left_out"] for record in own),
            "clipped_samples": sum(record["num_clipped"] for record in own),
        }
        logger.info("%s: %s", split, figures[split])
    return figures
