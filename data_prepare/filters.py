"""What is left out of a prepared corpus, and why: nothing is lost in silence."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from data_prepare.utterance import Utterance


@dataclass(frozen=True, slots=True)
class Rejection:
    """One thing that is left out.

    Arguments
    ---------
    id : str
        Id of the utterance; of the call or file where there is no utterance.
    reason : str
        One word, such as "too_long"; counted by it.
    detail : str
        The value and what was expected.
    is_choice : bool
        True if the options ask for it (more hours than wanted, an excluded call); such lines are
        listed and counted, but are no fault of the corpus.
    """

    id: str
    reason: str
    detail: str
    is_choice: bool = False


@dataclass(frozen=True)
class Filters:
    """Bounds that an utterance must keep to.

    Arguments
    ---------
    min_duration_s : float
        Shortest utterance kept.
    max_duration_s : float
        Longest utterance kept.
    min_chars_per_s : float
        Fewest characters of text a second; fewer means that speech was not written down.
    max_chars_per_s : float
        Most characters of text a second; more means that text and audio do not match.
    reject_texts : tuple of str
        Utterances whose text holds one of these phrases, in any case, are left out.
    allow_empty_text : bool
        Keep utterances without text, such as noise.
    """

    min_duration_s: float
    max_duration_s: float
    min_chars_per_s: float
    max_chars_per_s: float
    reject_texts: tuple[str, ...]
    allow_empty_text: bool

    def check(self, utterance: Utterance) -> Rejection | None:
        """Return why an utterance is left out, or None if it is kept.

        Arguments
        ---------
        utterance : Utterance
            Its end is a number.

        Returns
        -------
        Rejection | None
            The first rule it breaks.
        """
        assert utterance.end_s is not None, "readers fill in the end"
        duration_s = utterance.end_s - utterance.start_s
        fault = self._text_fault(utterance.text) or self._duration_fault(duration_s)
        if fault is None and utterance.text:
            fault = self._speed_fault(len(utterance.text) / duration_s)
        return Rejection(utterance.id, *fault) if fault else None

    def _text_fault(self, text: str) -> tuple[str, str] | None:
        if not text and not self.allow_empty_text:
            return "empty_text", "no text"
        folded = text.casefold()
        for phrase in self.reject_texts:
            if phrase.casefold() in folded:
                return "text_reject", f"text holds {phrase!r}"
        return None

    def _duration_fault(self, duration_s: float) -> tuple[str, str] | None:
        if duration_s < self.min_duration_s or duration_s <= 0:
            return "too_short", f"{duration_s:.3f} s, at least {self.min_duration_s} s"
        if duration_s > self.max_duration_s:
            return "too_long", f"{duration_s:.3f} s, at most {self.max_duration_s} s"
        return None

    def _speed_fault(self, chars_per_s: float) -> tuple[str, str] | None:
        if chars_per_s < self.min_chars_per_s:
            return "too_few_chars", f"{chars_per_s:.2f} a second, at least {self.min_chars_per_s}"
        if chars_per_s > self.max_chars_per_s:
            return "too_many_chars", f"{chars_per_s:.1f} a second, at most {self.max_chars_per_s}"
        return None


class RejectionCounts:
    """Counts of what was kept and what was left out, by reason."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.choices: Counter[str] = Counter()

    def add(self, rejections: Iterable[Rejection]) -> None:
        """Count rejections."""
        for rejection in rejections:
            (self.choices if rejection.is_choice else self.faults)[rejection.reason] += 1


def check_rejected_share(
    faults: Counter[str], *, num_kept: int, max_share: float, listing: str
) -> float:
    """Return the rejected share, or stop where it is too large.

    Arguments
    ---------
    faults : Counter[str]
        Rejections by reason, without choices.
    num_kept : int
        Utterances that are kept.
    max_share : float
        Largest share accepted, 0 to 1.
    listing : str
        Path of the list of rejections, for the message.

    Returns
    -------
    float
        Rejected / (rejected + kept), 0 for an empty corpus.

    Raises
    ------
    ValueError
        If the share is above `max_share`; names the reasons.
    """
    total = faults.total()
    share = total / max(1, total + num_kept)
    if share > max_share:
        reasons = ", ".join(f"{reason} {count}" for reason, count in faults.most_common())
        raise ValueError(
            f"prepare: {total} of {total + num_kept} utterances ({share:.1%}) rejected: {reasons}; "
            f"expected at most {max_share:.1%}; look into {listing}, mend the corpus or the "
            f"bounds, or raise max_rejected_share."
        )
    return share
