"""What a folder of clips holds: whether it is what is wanted, and its figures."""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prepare.files import write_json
from data_prepare.prepared import as_json, clear_work
from data_prepare.trigger_word.words import SPLITS, Word

logger = logging.getLogger(__name__)

OPTIONS_NAME = "clips.json"
SPOKEN_FOLDER = "spoken"
_BEGUN_NAME = ".begun"
_OWN_FOLDERS = (SPOKEN_FOLDER, *SPLITS)
_WHERE = "trigger_word_prepare"


def is_made(folder: Path, identity: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Tell whether the clips are there; changes nothing.

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
        True if there is nothing to do; clips made before fingerprints were noted are to be made
        anew.

    Raises
    ------
    ValueError
        If clips of other options or recordings, or files of somebody else, are in the way.
    """
    done = folder / OPTIONS_NAME
    path = done if done.is_file() else folder / _BEGUN_NAME
    found, wanted = _read(path), as_json(identity)
    if not found:
        _check_free(folder, is_ours=found is not None)
        return False
    is_known = "fingerprint" in found or wanted["fingerprint"] is None
    if wanted["fingerprint"] is None or not is_known:
        found["fingerprint"] = wanted["fingerprint"]
    if found == wanted:
        return path == done and is_known
    if not overwrite:
        raise ValueError(_difference(path, found, wanted))
    return False


def make_room(folder: Path, work: Path, identity: Mapping[str, Any]) -> None:
    """Keep what is finished of the same clips, delete all else that was made or begun here.

    Arguments
    ---------
    folder : Path
        Of the clips; `is_made` has said that they are to be made.
    work : Path
        Its work folder, locked.
    identity : Mapping[str, Any]
        As for `is_made`.
    """
    done, begun = folder / OPTIONS_NAME, folder / _BEGUN_NAME
    found = _read(done)
    if found is None and _read(begun) == as_json(identity):
        logger.info("%s: goes on with clips that were begun", folder)
        return
    if found is not None and "fingerprint" not in found:
        logger.warning(
            "%s does not tell which recordings its clips were mixed from: they are mixed anew; "
            "shards made of them have to be made anew, too",
            done,
        )
    begun.write_bytes(b"")  # ours, of no options: a stop from here on leaves nothing to go on with
    done.unlink(missing_ok=True)
    for name in _OWN_FOLDERS:
        if (folder / name).exists():
            shutil.rmtree(folder / name)
    clear_work(work)
    write_json(begun, identity)


def _read(path: Path) -> dict[str, Any] | None:
    """Return noted options without what was made; empty where none are noted yet."""
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_bytes() or b"{}")
    found.pop("made", None)
    return found


def _check_free(folder: Path, *, is_ours: bool) -> None:
    there = [name for name in _OWN_FOLDERS if (folder / name).exists()]
    if there and not is_ours:
        raise ValueError(
            f"{_WHERE}: {folder} holds {', '.join(there)}, not made here; expected a free place; "
            "choose another out_folder."
        )


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
