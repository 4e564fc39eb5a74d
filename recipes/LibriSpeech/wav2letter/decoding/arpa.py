"""Read an n-gram model in ARPA form into arrays.

Every n-gram w_1..w_k is a node of a trie, child of the node w_1..w_{k-1}. Nodes are numbered by
order, then by parent and word, so that `keys` = parent * num_ids + word is one ascending array:
a child is found by bisection, for many nodes at once. The ARPA form: D. B. Paul and J. M. Baker,
"The design for the Wall Street Journal-based CSR corpus", HLT 1992; A. Stolcke, "SRILM", 2002.
"""

from __future__ import annotations

import gzip
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.LibriSpeech.wav2letter.decoding.language_model import Floats, Ints

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
MISSING_LOG10 = -100.0
"""Score of what the file does not hold, if it has no `<unk>`; as KenLM does."""
_SECTION = re.compile(r"\\(\d+)-grams:")


@dataclass(frozen=True, eq=False)
class NGrams:
    """An n-gram model as a trie in arrays; node 0 is the empty context.

    Arguments
    ---------
    num_ids : int
        Words: V tokens, then the end of the utterance (V) and its start (V + 1).
    keys : Ints
        [M - 1] of nodes 1..M-1, ascending.
    log10 : Floats
        [M] log10 p(last word of the n-gram | the words before it).
    backoff : Floats
        [M] log10 of the back-off weight.
    suffix : Ints
        [M] node of the n-gram without its first word.
    first : Ints
        [M + 1] children of node n are the nodes first[n]..first[n + 1] - 1.
    orders : Ints
        [M] number of words of each node.
    """

    num_ids: int
    keys: Ints
    log10: Floats
    backoff: Floats
    suffix: Ints
    first: Ints
    orders: Ints

    @property
    def end(self) -> int:
        """Word that ends an utterance; the tokens are the words below it."""
        return self.num_ids - 2

    @property
    def start(self) -> int:
        """Word that begins an utterance."""
        return self.num_ids - 1

    def child(self, nodes: Ints, words: Ints) -> Ints:
        """Return the child of each node by a word, -1 where there is none."""
        return _find(self.keys, nodes * self.num_ids + words)


def read_arpa(path: str | Path, tokens: Sequence[str]) -> NGrams:
    """Read a file, plain or gzipped; n-grams with words that are no tokens are left out.

    Arguments
    ---------
    path : str | Path
        `.arpa` or `.arpa.gz`.
    tokens : Sequence[str]
        V tokens in the order of the acoustic model. One that the file lacks has the
        probability of `<unk>`.

    Returns
    -------
    NGrams
        The trie.

    Raises
    ------
    ValueError
        If the file is no ARPA file, holds none of the tokens, or an n-gram without its context.
    """
    path = Path(path)
    words = {token: number for number, token in enumerate(tokens)}
    num_ids = len(tokens) + 2
    words |= {END: num_ids - 2, START: num_ids - 1}  # also where the end is a token, too
    builder = _Builder(path, num_ids)
    for section in _sections(path, words):
        if section.order == 1:
            section = _completed(section, num_ids, path)
        builder.add(section)
    return builder.finish()


class _Section(NamedTuple):
    """The n-grams of one order: log10 [n], words [n, order], back-off [n], and log10 p(<unk>)."""

    order: int
    log10: Floats
    words: Ints
    backoff: Floats
    unknown: float


def _completed(section: _Section, num_ids: int, path: Path) -> _Section:
    """Return the unigrams with those that lack; `<s>` has a node in any case."""
    absent = np.setdiff1d(np.arange(num_ids), section.words)
    if len(np.setdiff1d(np.arange(num_ids - 2), absent)) == 0:
        raise ValueError(
            f"arpa {path}: has none of the {num_ids - 2} tokens; expected a model of the tokens of "
            "the acoustic model; train it on text that is written in them."
        )
    more = np.full(len(absent), section.unknown, np.float32)
    return section._replace(
        log10=np.concatenate([section.log10, more]),
        words=np.concatenate([section.words, absent[:, None]]),
        backoff=np.concatenate([section.backoff, np.zeros_like(more)]),
    )


def _sections(path: Path, words: Mapping[str, int]) -> Iterator[_Section]:
    """Yield the sections of a file in order."""
    opened = gzip.open if path.suffix == ".gz" else open
    is_arpa = False
    with opened(path, "rt", encoding="utf-8", newline="\n") as lines:
        line = next(lines, "")
        while line:
            match = _SECTION.match(line)
            if match is None:
                line = next(lines, "")
                continue
            is_arpa = True
            section, line = _read_section(path, lines, int(match[1]), words)
            yield section
    if not is_arpa:
        raise ValueError(
            f"arpa {path}: has no section \\1-grams:; expected a text file in ARPA form (or give "
            "a KenLM binary to `kenlm_model.KenLMModel`)."
        )


def _read_section(
    path: Path, lines: Iterator[str], order: int, words: Mapping[str, int]
) -> tuple[_Section, str]:
    """Return a section, and the line after it ("" at the end of the file)."""
    log10s, ids, backoffs = array("f"), array("q"), array("f")
    unknown, line = MISSING_LOG10, ""
    for line in lines:
        fields = line.split()
        if not fields:
            continue
        if fields[0].startswith("\\") and len(fields) == 1:
            break
        if len(fields) not in (order + 1, order + 2):
            raise ValueError(
                f"arpa {path}: {line.strip()!r} has {len(fields)} fields; expected a log10, "
                f"{order} words and perhaps a back-off; the file is damaged."
            )
        if order == 1 and fields[1] == UNKNOWN:
            unknown = float(fields[0])
        found = [words.get(word, -1) for word in fields[1 : order + 1]]
        if -1 in found:
            continue
        log10s.append(float(fields[0]))
        ids.extend(found)
        backoffs.append(float(fields[order + 1]) if len(fields) > order + 1 else 0.0)
    else:
        line = ""
    section = _Section(
        order,
        np.array(log10s, np.float32),
        np.array(ids, np.int64).reshape(-1, order),
        np.array(backoffs, np.float32),
        unknown,
    )
    return section, line


class _Builder:
    """Adds the orders one after the other."""

    def __init__(self, path: Path, num_ids: int) -> None:
        self.path, self.num_ids = path, num_ids
        self.keys: Ints = np.zeros(0, np.int64)
        self.log10, self.backoff = np.zeros(1, np.float32), np.zeros(1, np.float32)
        self.suffix, self.orders = np.zeros(1, np.int64), np.zeros(1, np.int64)

    def add(self, section: _Section) -> None:
        """Add the n-grams of one order."""
        order, log10, ids, backoff, _ = section
        parents = np.zeros(len(ids), np.int64)
        for place in range(order - 1):
            parents = self._child(parents, ids[:, place])
            if np.any(parents < 0):
                self._refuse(order, int((parents < 0).sum()))
        keys = parents * self.num_ids + ids[:, -1]
        ranks = np.argsort(keys, kind="stable")
        if np.any(np.diff(keys[ranks]) == 0):
            raise ValueError(f"arpa {self.path}: holds one of its {order}-grams twice; mend it.")
        suffix = np.zeros(len(ids), np.int64)
        if order > 1:
            suffix = self._suffixes(self.suffix[parents], ids[:, -1])
        self.keys = np.concatenate([self.keys, keys[ranks]])
        self.log10 = np.concatenate([self.log10, log10[ranks]])
        self.backoff = np.concatenate([self.backoff, backoff[ranks]])
        self.suffix = np.concatenate([self.suffix, suffix[ranks]])
        self.orders = np.concatenate([self.orders, np.full(len(ids), order)])

    def finish(self) -> NGrams:
        """Return the trie."""
        parents = self.keys // self.num_ids
        first = 1 + np.searchsorted(parents, np.arange(len(self.log10) + 1))
        return NGrams(
            self.num_ids, self.keys, self.log10, self.backoff, self.suffix, first, self.orders
        )

    def _child(self, nodes: Ints, words: Ints) -> Ints:
        return _find(self.keys, nodes * self.num_ids + words)

    def _suffixes(self, contexts: Ints, words: Ints) -> Ints:
        """Return the longest n-gram that is there, for each context and word."""
        found = self._child(contexts, words)
        while np.any(absent := found < 0):
            contexts = np.where(absent, self.suffix[contexts], contexts)
            found = np.where(absent, self._child(contexts, words), found)
        return found

    def _refuse(self, order: int, number: int) -> None:
        raise ValueError(
            f"arpa {self.path}: {number} of its {order}-grams have contexts that are no n-grams of "
            "the file; expected all of them, as lmplz writes them; mend or train the model again."
        )


def _find(keys: Ints, wanted: Ints) -> Ints:
    """Return 1 + place of each wanted key, -1 where it is not."""
    if not len(keys):
        return np.full(len(wanted), -1)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: NDArray[np.int64] = np.where(keys[places] == wanted, places + 1, -1)
    return found
