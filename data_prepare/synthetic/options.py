"""What a synthetic corpus is made of, checked once."""

from dataclasses import asdict, dataclass
from typing import Any

LAYOUTS = {
    "bizspeech": "bizspeech",
    "spgispeech": "SPGISpeech",
    "librispeech": "LibriSpeech",
    "mustc": "MuST-C",
}
SPEECH_LAYOUTS = ("bizspeech", "spgispeech", "librispeech")
"""Made unless others are asked for: transcripts, no translations."""

# Rises when the same options give another corpus than before.
VERSION = 1


@dataclass(frozen=True, slots=True)
class Options:
    """All that decides the bytes of the corpora; see `prepare_synthetic` for each."""

    hours: float
    seed: int
    layouts: tuple[str, ...]
    minutes_per_call: float
    nonnative: float
    dirt: float
    spgispeech_hours: float
    librispeech_hours: float
    mustc_hours: float = 0.1

    def check(self) -> None:
        """Raise one ValueError that names all faults."""
        rules = [
            ("hours", self.hours > 0, "more than 0"),
            ("seed", self.seed >= 0, "0 or more"),
            ("minutes_per_call", self.minutes_per_call > 0, "more than 0"),
            ("nonnative", 0 <= self.nonnative <= 1, "a share, 0 to 1"),
            ("dirt", 0 <= self.dirt <= 0.5, "a share, 0 to 0.5"),
            ("spgispeech_hours", self.spgispeech_hours > 0, "more than 0"),
            ("librispeech_hours", self.librispeech_hours > 0, "more than 0"),
            ("mustc_hours", self.mustc_hours > 0, "more than 0"),
            (
                "layouts",
                bool(self.layouts) and set(self.layouts) <= set(LAYOUTS),
                f"some of {', '.join(LAYOUTS)}",
            ),
        ]
        faults = [
            f"{name} is {getattr(self, name)!r}, expected {expected}"
            for name, is_good, expected in rules
            if not is_good
        ]
        if faults:
            raise ValueError(f"synthetic_prepare options: {'; '.join(faults)}; correct them.")

    def record(self) -> dict[str, Any]:
        """Give the options and the version of the maker as plain JSON values."""
        record = {"version": VERSION, **asdict(self), "layouts": sorted(self.layouts)}
        if "mustc" not in self.layouts:  # corpora made before there was this layout stay valid
            del record["mustc_hours"]
        return record
