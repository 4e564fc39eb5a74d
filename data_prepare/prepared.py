"""A prepared corpus on disk, and whether it is what the options ask for."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prepare.files import TEMPORARY_MARK, atomic_path, write_json
from data_prepare.index import INDEX_NAME, ROWS_NAME, TEXTS_NAME
from data_prepare.shared_folder import try_lock

OPTIONS_NAME = "options.json"
SUMMARY_NAME = "summary.json"
MIXTURE_NAME = "mixture.json"
PLOT_NAME = "summary.png"
REJECTED_NAME = "rejected.jsonl"
WORK_NAME = ".work"
_SPLIT_FILES = (INDEX_NAME, ROWS_NAME, TEXTS_NAME, "shard-*.tar", f"*{TEMPORARY_MARK}*")
_CORPUS_FILES = (
    *(SUMMARY_NAME, PLOT_NAME, REJECTED_NAME, "verify.json", OPTIONS_NAME),
    f"*{TEMPORARY_MARK}*",
)


@dataclass(frozen=True)
class PreparedCorpus:
    """A finished corpus.

    Arguments
    ---------
    folder : Path
        Where it lies.
    splits : dict[str, Path]
        Name of each split to its folder, for `data_prepare.index.ShardIndex.load`. Empty if
        this is a preparer's answer to `slice` or `plan_only` and others have work to do yet.
    """

    folder: Path
    splits: dict[str, Path]

    def split(self, name: str) -> Path:
        """Return the folder of a split, or of a mixture of splits (`data_prepare.mixed_corpus`).

        Arguments
        ---------
        name : str
            Its name.

        Returns
        -------
        Path
            Where its index and shards lie.

        Raises
        ------
        ValueError
            If there is no such split.
        """
        if name not in self.splits and (self.folder / name / MIXTURE_NAME).is_file():
            return self.folder / name
        if name not in self.splits:
            raise ValueError(
                f"corpus {self.folder}: has no split {name!r}; expected one of "
                f"{sorted(self.splits) or 'none, as it is not finished'}; mend train_split, "
                "valid_split or test_splits."
            )
        return self.splits[name]

    @classmethod
    def load(cls, folder: Path) -> "PreparedCorpus":
        """Open a finished corpus.

        Arguments
        ---------
        folder : Path
            What a preparer got as out_folder.

        Returns
        -------
        PreparedCorpus
            Its splits.

        Raises
        ------
        FileNotFoundError
            If there is none, or its preparation did not end.
        """
        folder = Path(folder)
        found = find_prepared(folder)
        if found is None:
            raise FileNotFoundError(
                f"prepare: {folder} holds no finished corpus; expected {SUMMARY_NAME} and a folder "
                f"with {INDEX_NAME} for each split; run the preparer (again)."
            )
        return found


def find_prepared(folder: Path) -> PreparedCorpus | None:
    """Return the corpus in a folder if its preparation has ended, else None."""
    path = folder / SUMMARY_NAME
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))["splits"]
    # A mixture's splits lie elsewhere.
    splits = {name: folder / figures.get("folder", name) for name, figures in found.items()}
    if not all((split / INDEX_NAME).is_file() for split in splits.values()):
        return None
    return PreparedCorpus(folder, splits)


def check_out_folder(folder: Path, identity: dict[str, Any], *, overwrite: bool) -> bool:
    """Tell whether an output folder must be emptied first; changes nothing.

    Arguments
    ---------
    folder : Path
        The output folder.
    identity : dict[str, Any]
        Preparer, options and fingerprint of the source: what decides the content.
    overwrite : bool
        Another preparation may be deleted.

    Returns
    -------
    bool
        False if it is new or holds (a part of) the same preparation.

    Raises
    ------
    ValueError
        If there is something else and `overwrite` is False; says what differs.
    FileExistsError
        If the folder holds files that no preparer wrote.
    """
    path = folder / OPTIONS_NAME
    # One listing: on a network file system a look at a single name may be a minute old.
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if OPTIONS_NAME in names:
        found = json.loads(path.read_text(encoding="utf-8"))
        if overwrite:
            return True
        if found != as_json(identity):
            raise ValueError(
                f"prepare {folder}: holds a corpus that was prepared otherwise: "
                f"{'; '.join(_differences(found, as_json(identity)))}; expected the same; take "
                "another out_folder, the former options, or overwrite to start over."
            )
    elif any(name.partition(TEMPORARY_MARK)[0] not in (WORK_NAME, OPTIONS_NAME) for name in names):
        raise FileExistsError(
            f"prepare {folder}: is not empty and not a prepared corpus (no {OPTIONS_NAME}); "
            "expected a new folder; take another out_folder."
        )
    return False


def as_json(value: Any) -> Any:
    """Return a value as it comes back from a JSON file; paths become text."""
    return json.loads(json.dumps(value, default=str))


@contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[Path]:
    """Hold the work folder of an output folder; a killed holder frees it.

    Arguments
    ---------
    folder : Path
        The output folder.
    shared : bool
        Others that share may hold it too; otherwise it is held alone.

    Yields
    ------
    Path
        Its work folder.

    Raises
    ------
    RuntimeError
        If another process prepares into this folder.
    """
    work = folder / WORK_NAME
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("a+") as file:  # NFS wants both for both kinds of locks
        if not try_lock(file, shared=shared):
            raise RuntimeError(
                f"prepare {folder}: another process prepares into this folder; expected to be "
                f"alone{' but for slices' if shared else ''}; wait for it or take another "
                "out_folder."
            )
        yield work


def copy_prepared(corpus: PreparedCorpus, target: Path) -> PreparedCorpus:
    """Copy a finished corpus, such as to a node's own disk; what is there already stays.

    Another corpus or other files in the target are errors, as in `check_out_folder`.

    Arguments
    ---------
    corpus : PreparedCorpus
        The source.
    target : Path
        Folder of the copy: new, or a copy of the same corpus, whole or in part.

    Returns
    -------
    PreparedCorpus
        The copy.
    """
    identity = json.loads((corpus.folder / OPTIONS_NAME).read_text(encoding="utf-8"))
    identity["indexes"] = {
        name: hashlib.sha256((split / INDEX_NAME).read_bytes()).hexdigest()
        for name, split in corpus.splits.items()
    }
    check_out_folder(target, identity, overwrite=False)
    target.mkdir(parents=True, exist_ok=True)
    write_json(target / OPTIONS_NAME, identity)
    for split in corpus.splits.values():
        (target / split.name).mkdir(exist_ok=True)
        files = [path for path in split.iterdir() if path.name != INDEX_NAME]
        for path in [*sorted(files), split / INDEX_NAME]:
            _copy_file(path, target / split.name / path.name)
    for name in (REJECTED_NAME, PLOT_NAME, SUMMARY_NAME):
        _copy_file(corpus.folder / name, target / name)
    return PreparedCorpus.load(target)


def _copy_file(path: Path, target: Path) -> None:
    if target.is_file() and target.stat().st_size == path.stat().st_size:
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    lines = [
        f"{name} was {found.get(name)!r}, now {wanted.get(name)!r}"
        for name in ("preparer", "version", "fingerprint", "indexes")
        if found.get(name) != wanted.get(name)
    ]
    there, here = found.get("options", {}), wanted.get("options", {})
    lines += [
        f"{name} was {there.get(name)!r}, now {here.get(name)!r}"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    return lines


def delete_prepared(folder: Path) -> None:
    """Delete what a preparer wrote into its output folder, and nothing else; options.json last.

    Arguments
    ---------
    folder : Path
        The output folder, locked.
    """
    clear_work(folder / WORK_NAME)
    for split in [path for path in folder.iterdir() if path.is_dir() and path.name != WORK_NAME]:
        _delete_matching(split, _SPLIT_FILES)
        if not any(split.iterdir()):
            split.rmdir()
    _delete_matching(folder, _CORPUS_FILES)


def clear_work(work: Path) -> None:
    """Delete the plan and the receipts; what is locked there stays."""
    for path in [path for path in work.iterdir() if path.is_dir()]:
        shutil.rmtree(path)


def _delete_matching(folder: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()
