"""What the trap tests share. Each trap has a test of upstream, and one of our fix."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch

ROOT = Path(__file__).resolve().parents[4]


def mended(number: int, fix: str) -> str:
    """Return what to say when upstream no longer has a trap."""
    return f"upstream mended trap {number}: our fix in {fix} can go"


class StockBrain(sb.Brain):
    """SpeechBrain's own Brain on a linear model."""

    def compute_forward(self, batch: Any, stage: Any) -> Any:
        return self.modules.net(batch)

    def compute_objectives(self, predictions: Any, batch: Any, stage: Any) -> Any:
        return predictions.square().sum()


def stock_brain(net: torch.nn.Module, optimizer: Any = None, **run_opts: Any) -> StockBrain:
    """Return a stock Brain that is ready for ``fit_batch``."""
    brain = StockBrain(
        {"net": net},
        optimizer or (lambda params: torch.optim.SGD(params, lr=1.0)),
        run_opts={"device": "cpu", **run_opts},
    )
    brain.init_optimizers()
    brain.step = 1
    return brain


def vector(net: torch.nn.Module) -> torch.Tensor:
    """Return all parameters as one vector."""
    return torch.cat([p.detach().flatten().clone() for p in net.parameters()])


def sources(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    """Yield the parsed Python files of folders of the project."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def imported_names(tree: ast.Module) -> set[str]:
    """Return the top-level packages that a file imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names
