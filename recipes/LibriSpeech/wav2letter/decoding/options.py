"""Widths and weights of the beam searches; wrong values are told all at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BeamOptions:
    """Options of the searches over frames, with and without a lexicon.

    Arguments
    ---------
    beam_size : int
        Hypotheses kept after every frame.
    beam_threshold : float
        Those whose score is further below the best are dropped.
    lm_weight : float
        Of the language model, in its own unit (log10 for n-grams, ln for networks).
    word_score : float
        Added for every word (with a lexicon), or whenever the separator is entered (without).
    sil_weight : float
        Added for every frame in the separator.

    Raises
    ------
    ValueError
        If numbers are out of range.
    """

    beam_size: int = 500
    beam_threshold: float = 50.0
    lm_weight: float = 0.0
    word_score: float = 0.0
    sil_weight: float = 0.0

    def __post_init__(self) -> None:
        faults = [fault for fault, holds in self.rules().items() if not holds]
        if faults:
            raise ValueError(f"{type(self).__name__}: {'; '.join(faults)}.")

    def rules(self) -> dict[str, bool]:
        """Return what would be said of each rule if it did not hold, and whether it does."""
        return {
            f"beam_size is {self.beam_size}; expected >= 1": self.beam_size >= 1,
            f"beam_threshold is {self.beam_threshold}; expected > 0": self.beam_threshold > 0,
            f"lm_weight is {self.lm_weight}; expected >= 0": self.lm_weight >= 0,
        }


@dataclass(frozen=True, kw_only=True)
class Seq2SeqOptions(BeamOptions):
    """Options of the search of an attention decoder; the defaults are the paper's.

    `word_score` is added for every token but the end (a bonus for word pieces, despite its name);
    `sil_weight` has no meaning here and must stay 0.

    Arguments
    ---------
    beam_size : int
        Hypotheses kept after every step.
    beam_threshold : float
        Those whose score is further below the best are dropped.
    eos_threshold : float
        The end is proposed if its log-probability is at least this times the best one; infinity:
        always.
    soft_selection : float
        Other tokens are proposed if theirs lies no further below the best one.
    max_attention_shift : int | None
        Encoder frames that the attention's peak may move in a step; None: no limit. With 0 hardly
        a hypothesis is ever completed.
    max_steps : int
        Tokens of a hypothesis, at most, the end included.
    """

    beam_size: int = 80
    beam_threshold: float = 7.0
    eos_threshold: float = 1.5
    soft_selection: float = 10.0
    max_attention_shift: int | None = 30
    max_steps: int = 120

    def rules(self) -> dict[str, bool]:
        """Return what would be said of each rule if it did not hold, and whether it does."""
        shift = self.max_attention_shift
        return super().rules() | {
            f"sil_weight is {self.sil_weight}; expected 0": self.sil_weight == 0,
            f"eos_threshold is {self.eos_threshold}; expected >= 1": self.eos_threshold >= 1,
            f"soft_selection is {self.soft_selection}; expected >= 0": self.soft_selection >= 0,
            f"max_attention_shift is {shift}; expected >= 0 or null": shift is None or shift >= 0,
            f"max_steps is {self.max_steps}; expected >= 1": self.max_steps >= 1,
        }
