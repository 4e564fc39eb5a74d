"""Error rates of recognised text: WER, WER-P, CER-P, overall and by category."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rapidfuzz.distance import Levenshtein

from recipes.common.text import as_written, normalise

Units = Callable[[str], Sequence[str]]
Counts = dict[str, tuple[int, int]]  # metric -> errors, units of the reference


class Named(Protocol):
    """Something of an utterance."""

    @property
    def id(self) -> str:
        """Name of the utterance."""


Item = TypeVar("Item", bound=Named)

METRICS: dict[str, Units] = {
    "wer": lambda text: normalise(text).split(),
    "wer_p": lambda text: as_written(text).split(),
    "cer_p": lambda text: list(as_written(text)),
}
EDIT_MARKS = {"equal": " ", "replace": "S", "insert": "I", "delete": "D"}


@dataclass(frozen=True, slots=True)
class Recognised:
    """One utterance with what was said and what was recognised."""

    id: str
    reference: str
    hypothesis: str
    category: str


@dataclass
class TextScores:
    """Collects recognised utterances and turns them into error rates.

    The counts of errors are summed over utterances before the division, so that the rates are
    those of the whole set. Items of several ranks are merged by concatenation (`merge`); an
    utterance that comes twice is an error, since it would be counted twice.

    Attributes
    ----------
    items : list of Recognised
        What was added so far.
    """

    items: list[Recognised] = field(default_factory=list)

    def append(
        self,
        ids: Sequence[str],
        *,
        references: Sequence[str],
        hypotheses: Sequence[str],
        categories: Sequence[str],
    ) -> None:
        """Add one batch; the four sequences have one entry per utterance.

        Arguments
        ---------
        ids : Sequence[str]
            Names of the utterances.
        references : Sequence[str]
            What was said.
        hypotheses : Sequence[str]
            What was recognised.
        categories : Sequence[str]
            Facets joined by slashes, or "".

        Raises
        ------
        ValueError
            If the sequences differ in length.
        """
        for row in zip(ids, references, hypotheses, categories, strict=True):
            self.items.append(Recognised(*row))

    def merge(self, parts: Sequence["TextScores"]) -> None:
        """Replace the items by those of all parts (one per rank), sorted by id.

        Arguments
        ---------
        parts : Sequence["TextScores"]
            The scores of all ranks, this one's among them.

        Raises
        ------
        ValueError
            If an utterance stands in two parts.
        """
        self.items = merged((part.items for part in parts), verb="decoded")

    def summarise(self) -> dict[str, Any]:
        """Return the error rates in percent, overall and for each category.

        Returns
        -------
        dict
            `utterances`, `words`, `wer`, `wer_p`, `cer_p`, and `by_category`: the same figures for
            each whole category and each of its facets (the parts between slashes).
        """
        counts = [count_edits(item) for item in self.items]
        groups: dict[str, list[Counts]] = {}
        for item, count in zip(self.items, counts, strict=True):
            for name in facets(item.category):
                groups.setdefault(name, []).append(count)
        summary = rates(counts)
        summary["by_category"] = {name: rates(groups[name]) for name in sorted(groups)}
        return summary

    def write_alignments(self, path: Path) -> None:
        """Write one block per utterance: id, errors, reference, hypothesis, edits, worst first."""
        scored = [(item, *count_edits(item)["wer_p"]) for item in self.items]
        scored.sort(key=lambda row: (-row[1], row[0].id))
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("w", encoding="utf-8") as file:
            for item, num_errors, num_units in scored:
                file.write(f"{item.id}  {num_errors} errors in {num_units} words")
                file.write(f"  {item.category}\n" if item.category else "\n")
                file.write("\n".join(alignment(item)) + "\n\n")
        temporary.replace(path)


def merged(parts: Iterable[Sequence[Item]], *, verb: str) -> list[Item]:
    """Return the items of all parts (one per rank), sorted by id.

    Arguments
    ---------
    parts : Iterable[Sequence[Item]]
        Items have an `id`.
    verb : str
        What was done to an utterance, for the error.

    Returns
    -------
    list
        Each utterance once.

    Raises
    ------
    ValueError
        If an utterance stands in two parts, or twice in one.
    """
    items = sorted((item for part in parts for item in part), key=lambda item: item.id)
    twice = [a.id for a, b in zip(items, items[1:], strict=False) if a.id == b.id]
    if twice:
        raise ValueError(
            f"scoring: {len(twice)} utterances were {verb} twice, first {twice[:3]}; expected "
            "every utterance once; check the ids of the corpus."
        )
    return items


def facets(category: str) -> list[str]:
    """Return the names under which a category is reported: ``a/b`` gives a/b, a, b."""
    if not category:
        return []
    return list(dict.fromkeys([category, *category.split("/")]))


def count_edits(item: Recognised) -> Counts:
    """Return, for each metric, the edit distance of an item and its reference's length."""
    counts = {}
    for name, units in METRICS.items():
        reference = units(item.reference)
        distance = Levenshtein.distance(reference, units(item.hypothesis))
        counts[name] = (distance, len(reference))
    return counts


def rates(counts: Sequence[Counts]) -> dict[str, Any]:
    """Return utterances, words and the three error rates of some utterances.

    A rate is in percent of the reference's units; None where the references are empty.
    """
    result: dict[str, Any] = {"utterances": len(counts)}
    for name in METRICS:
        errors, total = (sum(count[name][i] for count in counts) for i in (0, 1))
        result[name] = 100.0 * errors / total if total else None
        if name == "wer":
            result["words"] = total
    return result


def alignment(item: Recognised) -> list[str]:
    """Return three aligned lines (REF, HYP, EDIT) of an utterance's words as written."""
    reference, hypothesis = (METRICS["wer_p"](t) for t in (item.reference, item.hypothesis))
    columns: list[tuple[str, str, str]] = []
    for code in Levenshtein.opcodes(reference, hypothesis):
        ref = list(reference[code.src_start : code.src_end])
        hyp = list(hypothesis[code.dest_start : code.dest_end])
        for i in range(max(len(ref), len(hyp))):
            pair = (ref[i] if i < len(ref) else "*", hyp[i] if i < len(hyp) else "*")
            columns.append((*pair, EDIT_MARKS[code.tag]))
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = zip(*columns, strict=True) if columns else [(), (), ()]
    text = []
    for label, line in zip(("REF", "HYP", "EDIT"), lines, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        text.append(f"{label:5}{' '.join(cells)}".rstrip())
    return text
