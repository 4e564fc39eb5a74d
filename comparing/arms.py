"""The arms of a comparison of precisions, and the switches of PyTorch that belong to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

ABOUT = {
    "fp32": "float32, TF32 off",
    "tf32": "float32, matrix products and convolutions in TF32",
    "bf16": "autocast to bfloat16",
    "fp16": "autocast to float16, gradient scaler",
}
"""Names of arms, and what they are."""
NEED_GPU = ("tf32", "fp16")


@dataclass(frozen=True)
class Arm:
    """One way to compute.

    Arguments
    ---------
    name : str
        Unique in the comparison.
    kind : str
        One of `ABOUT`.
    delay_s : float
        Sleep in every step: a control, which the comparison has to find.
    """

    name: str
    kind: str
    delay_s: float = 0.0

    @property
    def precision(self) -> str:
        """SpeechBrain's option."""
        return "fp32" if self.kind == "tf32" else self.kind

    @contextmanager
    def switches(self) -> Iterator[None]:
        """Set TF32 as the arm wants it, and put it back; SpeechBrain turns it on at import."""
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        wanted = self.kind == "tf32"
        set_tf32(wanted, wanted)
        try:
            yield
        finally:
            set_tf32(*before)


def set_tf32(in_products: bool, in_convolutions: bool) -> None:
    """Switch TF32 on or off."""
    torch.backends.cuda.matmul.allow_tf32 = in_products
    torch.backends.cudnn.allow_tf32 = in_convolutions


def make_arms(kinds: Sequence[str], *, delay_ms: float = 0.0) -> list[Arm]:
    """Return the arms of a comparison; the first is what the others are compared with.

    Arguments
    ---------
    kinds : Sequence[str]
        Some of `ABOUT`. The same one twice (an A/A comparison) has to show no difference.
    delay_ms : float
        Sleep of the last arm in every step, as a control; >= 0.

    Returns
    -------
    list of Arm
        With unique names.

    Raises
    ------
    ValueError
        If there are fewer than two, or one is unknown; all faults at once.
    """
    faults = [f"{kind!r} is unknown; expected some of {[*ABOUT]}" for kind in kinds]
    faults = [fault for fault, kind in zip(faults, kinds, strict=True) if kind not in ABOUT]
    if len(kinds) < 2:
        faults.append(f"{len(kinds)} given; expected two or more: a baseline and others")
    if delay_ms < 0:
        faults.append(f"delay_ms is {delay_ms}; expected >= 0")
    if faults:
        raise ValueError("arms: " + "; ".join(faults) + ".")
    arms: list[Arm] = []
    for place, kind in enumerate(kinds):
        number = list(kinds[:place]).count(kind) + 1
        arms.append(Arm(kind if number == 1 else f"{kind} ({number})", kind))
    if delay_ms:
        arms[-1] = replace(arms[-1], name=f"{arms[-1].name} + sleep", delay_s=delay_ms / 1000.0)
    return arms


def check_device(arms: Sequence[Arm], device: str) -> None:
    """Refuse arms that a device does not have.

    Arguments
    ---------
    arms : Sequence[Arm]
        Of the comparison.
    device : str
        Such as "cpu" or "cuda:0".

    Raises
    ------
    ValueError
        If an arm needs a GPU and the device is none.
    """
    wrong = [arm.name for arm in arms if arm.kind in NEED_GPU]
    if wrong and not device.startswith("cuda"):
        raise ValueError(
            f"arms: {', '.join(wrong)} need a CUDA device, this is {device}; expected fp32 and "
            "bf16 here; leave them out, or run on a GPU."
        )


def order_of(arms: Sequence[Arm], unit: int) -> list[Arm]:
    """Return the order of an arm's two turns in a unit: A B B A, in the next unit B A A B."""
    forward = list(arms) if unit % 2 == 0 else list(reversed(arms))
    return forward + forward[::-1]
