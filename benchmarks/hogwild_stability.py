"""Which rate do delayed gradients bear, with and without looking ahead? A linear model tells.

    python -m benchmarks.hogwild_stability

Workers that take turns minimise curvature x w^2 / 2 by a rate of 1 and a running mean of gradients
(Adam's, once its second moments are constant); each gradient is computed with what its worker read
after its own last step. The largest curvature with which all comes to rest is found by the
eigenvalues of one turn of all workers. As a rate x curvature it is what a run can bear in its
sharpest direction; 2 (1 + momentum) / (1 - momentum) for one process.
Writes ``benchmarks/results/<date>-hogwild_stability.md``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from recipes.common.experiment import git_commit

RESULTS = Path(__file__).resolve().parent / "results"
LOOKAHEADS = (0.0, 0.5, 0.75, 1.0, 1.5, 2.0)
MOMENTA = (0.0, 0.5, 0.8, 0.9, 0.95)
CURVATURES = np.geomspace(0.02, 100.0, 2000)


def turn(curvature: float, *, num_workers: int, momentum: float, lookahead: float) -> np.ndarray:
    """Return what one step of each worker makes of the state.

    Arguments
    ---------
    curvature : float
        Of the loss; the rate is 1.
    num_workers : int
        p; worker r steps as the r-th of each turn.
    momentum : float
        Of the running mean of gradients.
    lookahead : float
        A worker reads w - lookahead x momentum x (p - 1) x its own last step.

    Returns
    -------
    np.ndarray
        Shape [1 + 2 p, 1 + 2 p]; a state holds w, the p running means, and what the p workers read.
    """
    size = 1 + 2 * num_workers
    reach = lookahead * momentum * (num_workers - 1)
    whole = np.eye(size)
    for worker in range(num_workers):
        mean, read = 1 + worker, 1 + num_workers + worker
        step = np.eye(size)
        step[mean, mean] = momentum
        step[mean, read] = (1 - momentum) * curvature
        step[0] -= step[mean]
        step[read] = step[0] - reach * step[mean]
        whole = step @ whole
    return whole


def largest_curvature(*, num_workers: int, momentum: float, lookahead: float) -> float:
    """Return the end of the first range of curvatures with which all comes to rest."""
    found = 0.0
    for curvature in CURVATURES:
        one = turn(curvature, num_workers=num_workers, momentum=momentum, lookahead=lookahead)
        if np.abs(np.linalg.eigvals(one)).max() > 1.0 + 1e-9:
            break
        found = float(curvature)
    return found


def report() -> str:
    """Return the table in Markdown."""
    lines = ["# Rate x curvature that delayed gradients bear", ""]
    lines += ["- command: `python -m benchmarks.hogwild_stability`"]
    lines += [f"- date: {datetime.now(UTC).date().isoformat()}; commit: {git_commit()}"]
    lines += ["- a linear model, so the machine does not matter; see the docstring", ""]
    lines += ["| workers | momentum | " + " | ".join(f"lookahead {x:g}" for x in LOOKAHEADS) + " |"]
    lines += ["|--:|--:" + "|--:" * len(LOOKAHEADS) + "|"]
    for num_workers in (1, 2, 3, 4, 8):
        for momentum in MOMENTA:
            found = [
                largest_curvature(num_workers=num_workers, momentum=momentum, lookahead=lookahead)
                for lookahead in LOOKAHEADS
            ]
            cells = " | ".join(f"{value:.2f}" for value in found)
            lines += [f"| {num_workers} | {momentum:g} | {cells} |"]
    return "\n".join([*lines, ""])


def main(argv: Sequence[str]) -> int:
    """Write and print the table."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(argv)
    text = report()
    path = RESULTS / f"{datetime.now(UTC).date().isoformat()}-hogwild_stability.md"
    path.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
