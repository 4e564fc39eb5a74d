"""BLEU and chrF of translations, over a whole set, with the signatures that make them comparable.

Texts are compared as written: references are those of the corpus, hypotheses come out of the
tokenizer's own inverse, and nothing is tokenised or detokenised in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from recipes.common.scoring import merged

METRICS = ("bleu", "chrf")


@dataclass(frozen=True, slots=True)
class Translated:
    """One utterance: what was said, how it is translated, how it was translated here."""

    id: str
    source: str
    reference: str
    hypothesis: str


@dataclass
class TranslationScores:
    """Collects translations and turns them into scores of the set.

    Attributes
    ----------
    items : list of Translated
        What was added so far.
    """

    items: list[Translated] = field(default_factory=list)

    def append(
        self,
        ids: Sequence[str],
        *,
        sources: Sequence[str],
        references: Sequence[str],
        hypotheses: Sequence[str],
    ) -> None:
        """Add one batch; the four sequences have one entry per utterance.

        Arguments
        ---------
        ids : Sequence[str]
            Names of the utterances.
        sources : Sequence[str]
            Transcripts.
        references : Sequence[str]
            Translations of the corpus.
        hypotheses : Sequence[str]
            Translations of the model.

        Raises
        ------
        ValueError
            If the sequences differ in length.
        """
        for row in zip(ids, sources, references, hypotheses, strict=True):
            self.items.append(Translated(*row))

    def merge(self, parts: Sequence["TranslationScores"]) -> None:
        """Replace the items by those of all parts (one per rank), sorted by id.

        Arguments
        ---------
        parts : Sequence["TranslationScores"]
            The scores of all ranks, this one's among them.

        Raises
        ------
        ValueError
            If an utterance stands in two parts.
        """
        self.items = merged((part.items for part in parts), verb="translated")

    def summarise(self) -> dict[str, Any]:
        """Return the scores of the set, and what they were computed of.

        Returns
        -------
        dict
            ``bleu`` and ``chrf`` (chrF2), 0 to 100, None for an empty set; ``length_ratio`` of
            BLEU's tokens of hypotheses over those of references; ``utterances``; ``exact``, the
            percentage of hypotheses that equal their reference; ``signatures``.
        """
        hypotheses = [item.hypothesis for item in self.items]
        references = [item.reference for item in self.items]
        if not references:
            nothing = dict.fromkeys((*METRICS, "length_ratio", "exact"))
            return {**nothing, "utterances": 0, "signatures": {}}
        bleu, chrf = BLEU(), CHRF()
        score = bleu.corpus_score(hypotheses, [references])
        num_exact = sum(h == r for h, r in zip(hypotheses, references, strict=True))
        return {
            "bleu": float(score.score),
            "chrf": float(chrf.corpus_score(hypotheses, [references]).score),
            "length_ratio": score.sys_len / score.ref_len if score.ref_len else None,
            "exact": 100.0 * num_exact / len(references),
            "utterances": len(references),
            "signatures": {"bleu": str(bleu.get_signature()), "chrf": str(chrf.get_signature())},
        }

    def write(self, path: Path) -> None:
        """Write a block per utterance: id, transcript, reference, hypothesis."""
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("w", encoding="utf-8") as file:
            for item in self.items:
                file.write(f"{item.id}\nSRC {item.source}\n")
                file.write(f"REF {item.reference}\nHYP {item.hypothesis}\n\n")
        temporary.replace(path)
