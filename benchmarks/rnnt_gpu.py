"""Measure on a GPU all that the transducer's goals name, one dated report each.

    python -m benchmarks.rnnt_gpu
    python -m benchmarks.rnnt_gpu --quick

Throughput of the recipe against the reference's way at micro-batches of 192 and 512, by each
precision and loss; joint and loss alone at the benchmark's usual and at its largest shape; the
search of dev-clean's 2,703 utterances in one batch; one update of 49 million parameters.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from hyperpyyaml import load_hyperpyyaml

from benchmarks import rnnt_loss, rnnt_throughput
from benchmarks.measuring import RESULTS, head, setting, table, write_report
from benchmarks.rnnt_task import HPARAMS
from recipes.LibriSpeech.ASR.transducer.ema import ModelAverage
from recipes.LibriSpeech.ASR.transducer.lamb import LAMB

WAYS = (("bf16", "packed"), ("bf16", "triton"), ("fp16", "triton"))
BATCHES = (192, 512)
SHAPES = {"usual": (192, 205, 56, 1024), "largest": (192, 321, 125, 1024)}
NUM_DEV, DEV_STEPS = 2703, 117  # utterances of dev-clean, and encoder steps of 7 s


def seconds_of(act: Callable[[], Any], *, repeats: int, warmup: int = 3) -> float:
    """Return the median of an act's seconds, the device waited for."""
    found = []
    for number in range(warmup + repeats):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        act()
        torch.cuda.synchronize()
        if number >= warmup:
            found.append(time.perf_counter() - begun)
    return median(found)


def small_parts(repeats: int) -> dict[str, float]:
    """Return seconds of the search of dev-clean and of an update with its average."""
    with (HPARAMS / "model/transducer.yaml").open(encoding="utf-8") as file:
        model = load_hyperpyyaml(file, {"vocab_size": 1023, "in_feats": 256})
    modules = torch.nn.ModuleDict(model["modules"]).to("cuda")
    enc = torch.randn(NUM_DEV, DEV_STEPS, model["joint_size"], device="cuda")
    steps = torch.full((NUM_DEV,), DEV_STEPS, device="cuda")
    modules.eval()
    search_s = seconds_of(lambda: model["search"](enc, steps), repeats=3, warmup=1)
    optimizer = LAMB(modules.parameters(), lr=1e-3)
    average = ModelAverage(modules, decay=0.99)
    for param in modules.parameters():
        param.grad = torch.randn_like(param)

    def update() -> None:
        optimizer.step()
        average.update()

    return {
        f"search of {NUM_DEV} utterances of 7 s": search_s,
        "update and average": seconds_of(update, repeats=repeats),
    }


def main(argv: Sequence[str]) -> int:
    """Measure and write the reports; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one way, one shape, few updates")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print("rnnt_gpu: no CUDA device; expected one; on a CPU: benchmarks.rnnt_throughput")
        return 2
    ways = WAYS[:1] if options.quick else WAYS
    batches = BATCHES[:1] if options.quick else BATCHES
    updates = ["--updates", "5" if options.quick else "50"]
    out = ["--out", str(options.out)]
    parts = small_parts(5 if options.quick else 50)
    record = {**setting("rnnt_gpu", argv, ("torch",)), "seconds": parts}
    lines = head("Search and update of the transducer on a GPU", record)
    rows = [[name, f"{1000 * value:.2f}"] for name, value in parts.items()]
    lines += [torch.cuda.get_device_name(), "", *table(["part", "ms"], rows)]
    print(write_report(options.out, "rnnt-parts-gpu", record, lines))
    for name, shape in SHAPES.items():
        words = ["--device", "cuda", "--dtype", "fp16", "--chunk_rows", "32768", *out]
        words += ["--shape", *map(str, shape), "--losses", "packed", "triton", "torchaudio"]
        rnnt_loss.main([*words, "--name", f"rnnt-loss-gpu-{name}"])
    for batch in batches:
        for number, (precision, loss) in enumerate(ways):
            modes = ["reference", "fast"] if number == 0 else ["fast"]
            words = ["--batch", str(batch), "--modes", *modes, "--precision", precision]
            words += ["--loss", loss, *updates, *out]
            rnnt_throughput.main([*words, "--name", f"rnnt-gpu-{batch}-{precision}-{loss}"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
