"""Measure on a GPU all that the transducer's goals name, one dated report each.

    python -m benchmarks.rnnt_gpu
    python -m benchmarks.rnnt_gpu --quick

Parts alone, as they are, compiled and as CUDA graphs, with the search of dev-clean's 2,703
utterances and one update of 49 million parameters (`benchmarks.rnnt_parts`); joint and loss alone
at the benchmark's usual and at its largest shape; throughput of the recipe against the reference's
way at micro-batches of 192 and 512, by each precision and loss, and against itself with padding at
192; the loader by itself. Each is a process of its own, since a fault of the device ends what its
process can do.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch

from benchmarks import rnnt_loading, rnnt_loss, rnnt_parts, rnnt_throughput
from benchmarks.measuring import RESULTS, ROOT

WAYS = (("bf16", "packed"), ("bf16", "triton"), ("fp16", "triton"))
BATCHES = (192, 512)
PADDED_BATCH = 192
SHAPES = {"usual": (192, 205, 56, 1024), "largest": (192, 321, 125, 1024)}


def code_of(module: ModuleType, words: Sequence[str]) -> int:
    """Run a benchmark by a process of its own; return its exit code."""
    command = [sys.executable, "-m", module.__name__, *words]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main(argv: Sequence[str]) -> int:
    """Measure and write the reports; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one way, one batch, few updates")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print("rnnt_gpu: no CUDA device; expected one; on a CPU: benchmarks.rnnt_throughput")
        return 2
    ways = WAYS[:1] if options.quick else WAYS
    batches = BATCHES[:1] if options.quick else BATCHES
    updates = "5" if options.quick else "50"
    out = ["--out", str(options.out.resolve())]
    codes = [code_of(rnnt_parts, ["--device", "cuda", "--repeats", updates, *out])]
    for name, shape in SHAPES.items():
        words = ["--device", "cuda", "--dtype", "fp16", "--chunk_rows", "32768", *out]
        words += ["--shape", *map(str, shape), "--losses", "packed", "triton", "torchaudio"]
        codes.append(code_of(rnnt_loss, [*words, "--name", f"rnnt-loss-gpu-{name}"]))
    for batch in batches:
        for number, (precision, loss) in enumerate(ways):
            modes = ["fast"]
            if number == 0:
                # All logits of the larger batch, with padding, would not fit.
                padded = ["padded"] if batch == PADDED_BATCH else []
                modes = ["reference", *padded, "fast"]
            words = ["--batch", str(batch), "--modes", *modes, "--precision", precision]
            words += ["--loss", loss, "--updates", updates, *out]
            words += ["--name", f"rnnt-gpu-{batch}-{precision}-{loss}"]
            codes.append(code_of(rnnt_throughput, words))
    hours = "1" if options.quick else "4"
    codes.append(code_of(rnnt_loading, ["--workers", "16", "--hours", hours, *out]))
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
