"""Where clips take their words and noise from, and to which split each recording belongs.

Recordings are divided *before* anything is mixed: no word and no noise is heard in two splits.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_prepare.manifest_rows import Where, as_text, read_records
from data_prepare.scan import stable_hash
from data_prepare.sources import fingerprint_files

ROLES = ("trigger", "negative", "background")
SPLITS = ("train", "valid", "test")
FOLDERS = {"trigger": "activates", "negative": "negatives", "background": "backgrounds"}
_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}
_WHERE = "trigger words"


@dataclass(frozen=True, slots=True)
class Word:
    """A recording of the trigger, of another word, or of noise.

    Arguments
    ---------
    id : str
        Unique.
    path : Path
        The recording.
    role : str
        One of `ROLES`.
    split : str
        One of `SPLITS`; "" where it is still to be chosen.
    """

    id: str
    path: Path
    role: str
    split: str = ""


@dataclass(frozen=True, kw_only=True)
class ManifestRoles:
    """Which records of a manifest are triggers, which are other words, which are noise.

    Arguments
    ---------
    trigger, negative, background : Mapping[str, str]
        Field to pattern, as the option `where` of `data_prepare.manifest`. What is a trigger or
        noise is never another word, so `negative` may be empty: everything else.
    test : Mapping[str, str]
        Words (not noise) for the split "test", such as those of one speaker; empty: those whose
        `split` is "test", as it always is for noise.
    """

    trigger: Mapping[str, str]
    negative: Mapping[str, str]
    background: Mapping[str, str]
    test: Mapping[str, str]

    def role_of(self, values: Mapping[str, Any]) -> str | None:
        """Return the role of a record; None for one that is not used."""
        for role in ("trigger", "background", "negative"):
            if Where(getattr(self, role)).matches(values):
                return role
        return None

    def split_of(self, values: Mapping[str, Any], role: str) -> str:
        """Return "test", "valid" or "" for what is divided later."""
        if self.test and role != "background":
            return "test" if Where(self.test).matches(values) else ""
        split = as_text(values.get("split"))
        return {"test": "test", "valid": "valid", "dev": "valid"}.get(split, "")


def words_of_manifest(path: Path, roles: ManifestRoles) -> list[Word]:
    """Return the words of a manifest (JSON lines or a table with id, path and what roles ask for).

    Arguments
    ---------
    path : Path
        The manifest; paths in it are relative to its folder.
    roles : ManifestRoles
        What each record is.

    Returns
    -------
    list of Word
        In the order of the manifest.

    Raises
    ------
    FileNotFoundError
        If there is no manifest.
    ValueError
        If a record that is used is broken or lacks id or path.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{_WHERE}: no file {path}; expected a manifest; mend the path.")
    return list(_used_records(path, roles))


def _used_records(path: Path, roles: ManifestRoles) -> Iterator[Word]:
    for record in read_records(path):
        values = record.values or {}
        role = roles.role_of(values)
        if record.values is not None and role is None:
            continue
        if role is None or not values.get("id") or not values.get("path"):
            fault = record.fault or "lacks id or path"
            raise ValueError(
                f"{_WHERE}: {path}, line {record.line}: {fault}; expected a record with id and "
                "path; mend the manifest."
            )
        file = path.parent / str(values["path"])
        yield Word(as_text(values["id"]), file, role, roles.split_of(values, role))


def words_of_folder(folder: Path) -> list[Word]:
    """Return the recordings of the folders activates, negatives and backgrounds.

    Arguments
    ---------
    folder : Path
        Their parent; a folder <split> in between, such as train/activates, gives the split.

    Returns
    -------
    list of Word
        Sorted by path.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{_WHERE}: no folder {folder}; expected words; mend the path.")
    words = []
    for split in ("", *SPLITS):
        for role, name in FOLDERS.items():
            files = sorted((folder / split / name).rglob("*"))
            words += [
                Word(path.relative_to(folder).as_posix(), path, role, split)
                for path in files
                if path.suffix.lower() in _SUFFIXES
            ]
    return words


def fingerprint_words(words: Sequence[Word], source: Path) -> str:
    """Return a digest that changes when a recording, or the manifest that names it, does.

    Arguments
    ---------
    words : Sequence[Word]
        All words.
    source : Path
        The folder or the manifest that they are from.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits over names, sizes and times of change.

    Raises
    ------
    FileNotFoundError
        If a recording is missing.
    """
    is_manifest = source.is_file()
    paths = {word.path for word in words} | ({source} if is_manifest else set())
    try:
        return fingerprint_files(paths, root=source.parent if is_manifest else source)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{_WHERE}: no file {error.filename}; expected the recordings that {source} names; "
            "bring it back, or take it out of the manifest."
        ) from error


def divide(words: Sequence[Word], *, shares: Mapping[str, float], seed: int) -> list[Word]:
    """Give every word a split: recordings are drawn by a hash of their id, role by role.

    Where some words of a role are "test" already, the rest is divided among the other splits. A
    split with a share gets at least one recording of each role.

    Arguments
    ---------
    words : Sequence[Word]
        All words.
    shares : Mapping[str, float]
        Split to its share of the recordings, each > 0, in `SPLITS`; what is left is "train".
    seed : int
        Of the hash.

    Returns
    -------
    list of Word
        In the order given.

    Raises
    ------
    ValueError
        If a split lacks a role, or ids are not unique; all faults at once.
    """
    chosen: dict[str, str] = {}
    for role in ROLES:
        own = [word for word in words if word.role == role]
        chosen |= {word.id: word.split for word in own if word.split}
        open_ids = sorted(
            (word.id for word in own if not word.split), key=lambda id_: stable_hash(seed, id_)
        )
        known = {word.split for word in own if word.split}
        chosen |= _shared_out(open_ids, {s: p for s, p in shares.items() if s not in known})
    divided = [replace(word, split=chosen[word.id]) for word in words]
    _check(divided, ("train", *shares))
    return divided


def _shared_out(ids: Sequence[str], shares: Mapping[str, float]) -> dict[str, str]:
    found = dict.fromkeys(ids, "train")
    first = 0
    for split, share in shares.items():
        last = first + (max(1, math.floor(share * len(ids))) if ids else 0)
        found |= dict.fromkeys(ids[first:last], split)
        first = last
    return found


def _check(words: Sequence[Word], splits: Iterable[str]) -> None:
    there = {(word.split, word.role) for word in words}
    wanted = [(split, role) for split in splits for role in ROLES]
    faults = [f"no {role} in {split}" for split, role in wanted if (split, role) not in there]
    repeated = sorted(id_ for id_, num in Counter(word.id for word in words).items() if num > 1)
    faults += [f"id {id_!r} occurs more than once" for id_ in repeated[:20]]
    if faults:
        raise ValueError(
            f"{_WHERE}: {'; '.join(faults)}; expected a recording of each role in every split, and "
            "unique ids; add recordings, or change which are chosen."
        )
