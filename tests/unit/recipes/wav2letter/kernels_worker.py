"""Runs the Triton kernels by Triton's interpreter, and the loops, on the same numbers.

The interpreter must be chosen before Triton is imported, hence a process of its own.
"""

import json
import sys
from typing import Any

import torch
from torch import Tensor
from triton.runtime import interpreter

from recipes.LibriSpeech.wav2letter import asg_kernels, recursions


def patch_counts() -> None:
    """Let the interpreter count to a number that is an array of one, which numpy 2.4 refuses."""
    original = interpreter._patch_lang_tensor

    def patched(tensor: Any, scope: Any) -> None:
        original(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patched


def apart(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference of reachable states, infinity if others are reached."""
    is_reached = expected > -1e29
    if not torch.equal(found > -1e29, is_reached):
        return float("inf")
    return float((found[is_reached] - expected[is_reached]).abs().max())


def main() -> None:
    """Compare both recursions and print the differences."""
    patch_counts()
    assert recursions.kernels(torch.device("cpu")) is asg_kernels
    torch.manual_seed(0)
    likely = torch.rand(7, 2, 3, 5, dtype=torch.float64)
    moves = torch.rand(2, 5, 5, dtype=torch.float64)
    full = zip(
        asg_kernels.full(likely, moves), recursions.full_by_frames(likely, moves), strict=True
    )
    scores = torch.randn(9, 4, 6, dtype=torch.float64)
    scores[1:, :, 0] = scores[0, :, 1:] = -1e30  # the start, before the first frame
    scores[:-1, :, -1] = scores[-1, :, :-1] = -1e30  # the end, behind the last
    chain = zip(asg_kernels.chain(scores), recursions.chain_by_frames(scores), strict=True)
    pairs = {"full": full, "chain": chain}
    differences = {name: max(apart(*pair) for pair in both) for name, both in pairs.items()}
    sys.stdout.write(json.dumps(differences))


if __name__ == "__main__":
    main()
