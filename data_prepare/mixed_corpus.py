"""Prepare several corpora, each by its own preparer, to be trained on as one mixture.

The folder of the mixture holds no audio, only where the parts lie: summary.json names the splits
of all parts ("<part>/<split>"), <train_split>/mixture.json the training splits to be mixed by
`data_prepare.mixing.MixedLoader`.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prepare.address import is_remote
from data_prepare.files import write_json
from data_prepare.index import INDEX_NAME, ShardIndex
from data_prepare.prepared import MIXTURE_NAME, SUMMARY_NAME, PreparedCorpus, find_prepared

logger = logging.getLogger(__name__)

FORMAT = "stampede-mixture-1"

Part = Mapping[str, Any]

_HOUR_S = 3600.0


def prepare_mixture(
    out_folder: str | Path, *, parts: Mapping[str, Part], train_split: str = "train"
) -> PreparedCorpus:
    """Prepare what is missing of several corpora, and note where their splits lie.

    Arguments
    ---------
    out_folder : str | Path
        Folder of the mixture; made if needed.
    parts : Mapping[str, Part]
        Name of each corpus -> what its file in hparams/corpus holds: `make` and `prepare` (called
        without arguments, or None), `shards_folder` or `local_folder`, `train_split`, and
        `data_folder` where it has one.
    train_split : str
        Name of the mixture of the parts' training splits.

    Returns
    -------
    PreparedCorpus
        With a split "<part>/<split>" for each split of each part, and the mixture.

    Raises
    ------
    ValueError
        If names are no plain words, or the sampling rates differ.
    """
    folder = Path(out_folder).resolve()
    _check_names([*parts, train_split], num_parts=len(parts))
    prepared = {name: _prepare_part(name, part) for name, part in parts.items()}
    chosen = {name: c.split(parts[name]["train_split"]) for name, c in prepared.items()}
    indexes = {name: ShardIndex.load_texts(path) for name, path in chosen.items()}
    _check_rates(indexes)
    corpora = {
        name: {
            "folder": os.path.relpath(chosen[name].resolve(), folder / train_split),
            "checksum": index.checksum,
            "num_utterances": index.num_utterances,
            "hours": round(index.num_samples / index.rate_hz / _HOUR_S, 4),
        }
        for name, index in indexes.items()
    }
    splits = {
        f"{name}/{split}": {"folder": os.path.relpath(path.resolve(), folder)}
        for name, corpus in prepared.items()
        for split, path in corpus.splits.items()
    }
    _write(folder / train_split / MIXTURE_NAME, {"format": FORMAT, "corpora": corpora})
    _write(folder / SUMMARY_NAME, {"preparer": "mixture", "splits": splits})
    return PreparedCorpus.load(folder)


def read_mixture(folder: str | Path) -> dict[str, Path]:
    """Return name -> folder of the splits of a mixture.

    Arguments
    ---------
    folder : str | Path
        The folder with its mixture.json.

    Returns
    -------
    dict[str, Path]
        In the mixture's order.

    Raises
    ------
    FileNotFoundError
        If there is no mixture.
    ValueError
        If a corpus was prepared anew since; names all that were.
    """
    folder = Path(folder)
    path = folder / MIXTURE_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"mixture: {path} is missing; expected the folder of a mixture; run prepare_mixture, "
            "or name the corpora and their folders."
        )
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("format") != FORMAT:
        raise ValueError(
            f"mixture: {path} is of format {content.get('format')!r}; expected {FORMAT!r}; run "
            "prepare_mixture again."
        )
    corpora = content["corpora"]
    folders = {name: (folder / corpus["folder"]).resolve() for name, corpus in corpora.items()}
    changed = [
        name for name, split in folders.items() if _checksum(split) != corpora[name]["checksum"]
    ]
    if changed:
        raise ValueError(
            f"mixture {folder}: {', '.join(changed)} was prepared anew since the mixture was made; "
            "expected what it names; run prepare_mixture again."
        )
    return folders


def on_each_corpus(
    folders: Sequence[str | Path], *, function: Callable[..., Any], **arguments: Any
) -> Any:
    """Call a function with the folders of splits, those of mixtures replaced by their parts'.

    So what takes several splits, such as the training of a tokenizer, takes mixtures too.

    Arguments
    ---------
    folders : Sequence[str | Path]
        Of splits and mixtures.
    function : Callable[..., Any]
        Takes `folders`.
    **arguments : Any
        Handed on.

    Returns
    -------
    Any
        What the function returns.
    """
    found: list[Path] = []
    for folder in map(Path, folders):
        is_mixture = (folder / MIXTURE_NAME).is_file()
        found += read_mixture(folder).values() if is_mixture else [folder]
    return function(folders=found, **arguments)


def _checksum(split: Path) -> Any:
    return json.loads((split / INDEX_NAME).read_text(encoding="utf-8")).get("checksum")


def _prepare_part(name: str, part: Part) -> PreparedCorpus:
    if is_remote(part["shards_folder"]):
        raise ValueError(
            f"mixture: part {name!r} lies at {part['shards_folder']}; expected a local folder; "
            "give MixedLoader names and addresses of the splits in place of a mixture's folder."
        )
    shards = Path(part["shards_folder"])
    source, found = part.get("data_folder"), find_prepared(shards)
    if source is not None and not Path(source).exists() and found:
        logger.info("%s: %s is absent: the finished shards in %s are used", name, source, shards)
        return found
    try:
        for step in ("make", "prepare"):
            if part[step] is not None:
                part[step]()
    except (ValueError, OSError, RuntimeError) as error:
        error.add_note(f"It is corpus {name!r} of a mixture.")
        raise
    return PreparedCorpus.load(Path(part.get("local_folder") or shards))


def _check_names(names: Sequence[str], *, num_parts: int) -> None:
    faults = [f"{n!r} is no plain name" for n in names if not re.fullmatch(r"[\w-]+", n)]
    if names[-1] in names[:-1]:
        faults.append(f"{names[-1]!r} names a part and the mixture")
    if not num_parts:
        faults.append("there are no parts")
    if faults:
        raise ValueError(
            "mixture: " + "; ".join(faults) + "; expected parts with different names of letters, "
            "digits, _ and -."
        )


def _check_rates(indexes: Mapping[str, ShardIndex]) -> None:
    if len({index.rate_hz for index in indexes.values()}) > 1:
        listed = ", ".join(f"{name} {index.rate_hz} Hz" for name, index in indexes.items())
        raise ValueError(
            f"mixture: the sampling rates differ: {listed}; expected one rate; prepare the corpora "
            "with the same rate_hz."
        )


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, unless it says the same already."""
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)
