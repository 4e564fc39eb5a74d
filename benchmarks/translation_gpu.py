"""What the full translation model needs and does on a GPU. Not run in CI: it needs at least one.

    python -m benchmarks.translation_gpu
    python -m benchmarks.translation_gpu --device cpu --tiny --ranks 2   only to try the script

One script for what the CPU cannot tell, each answer a line of JSON:

- memory: peak of one micro-batch of 40,000 frames, and whether it fits 48 GB;
- speed: updates a second in fp32, TF32, bf16 and fp16, compression on and off, and the share of
  a forward pass that compression takes, its wait for the number of runs included;
- precision: after the updates of the speed test, the shares of encoder steps whose best CTC symbol,
  and of places between two steps whose run boundary, differ between bf16 and fp32;
- search: utterances a second with beam 5, and whether the text is the same for other batches;
- ranks, where there are several GPUs: the losses of the first 20 updates of the small run file on
  all of them beside those of one process that accumulates as many micro-batches.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from hyperpyyaml import load_hyperpyyaml
from torch import Tensor

from recipes.common.experiment import ROOT, git_commit
from recipes.common.machine import machine
from recipes.MuSTC.ST.conformer.losses import ctc_loss, translation_loss

MODEL = ROOT / "recipes/MuSTC/ST/conformer/hparams/model/conformer.yaml"
TINY = {"d_model": 32, "num_heads": 4, "d_ffn": 64, "subsampler_size": 64, "num_blocks": 3,
        "ctc_block": 2, "decoder_layers": 1, "max_target_tokens": 10}  # fmt: skip
FRAMES, LENGTH = 40_000, 620  # 6.2 s is the mean length of MuST-C's segments
TOKENS_PER_FRAME = 0.045
LIMIT_GB = 48
RUN_FILE = "recipes/MuSTC/ST/conformer/hparams/small.yaml"
RANK_UPDATES = 20
STDERR = 2
ARMS = {
    "fp32": (None, False),
    "tf32": (None, True),
    "bf16": (torch.bfloat16, True),
    "fp16": (torch.float16, True),
}


class Case:
    """The full model with one micro-batch of made-up features.

    Arguments
    ---------
    device : str
        Where.
    is_tiny : bool
        A small model and batch, to try the script.
    compress : str
        Strategy of the compression.
    """

    def __init__(self, device: str, *, is_tiny: bool, compress: str = "avg") -> None:
        torch.manual_seed(0)
        sizes: dict[str, Any] = {"compress": compress, **(TINY if is_tiny else {})}
        with MODEL.open(encoding="utf-8") as file:
            self.model = load_hyperpyyaml(file, sizes)
        self.device, self.blank = device, self.model["blank_index"]
        self.modules = torch.nn.ModuleDict(self.model["modules"]).to(device)
        num = max(2, (FRAMES // (20 if is_tiny else 1)) // LENGTH)
        frames = torch.linspace(LENGTH * 0.9, LENGTH, num).round().long()
        tokens = int(LENGTH * TOKENS_PER_FRAME)
        self.feats = torch.randn(num, LENGTH, 80).to(device)
        self.frames = frames.to(device)
        self.source = torch.randint(4, self.blank, (num, tokens), device=device)
        self.target = torch.randint(4, 300, (num, tokens), device=device)
        self.num_tokens = torch.full((num,), tokens, device=device)
        self.optimizer = torch.optim.Adam(self.modules.parameters(), lr=1e-4, betas=(0.9, 0.98))

    def precision(self, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
        """Return the context of a precision."""
        if dtype is None:
            return nullcontext()
        return torch.autocast(self.device.split(":")[0], dtype)

    def loss(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return the joint loss of the micro-batch, divided by its source tokens."""
        with self.precision(dtype):
            encoded = self.modules["encoder"](self.feats, self.frames)
            logits = self.modules["decoder"](self.target, encoded.states, encoded.lengths)
        total = translation_loss(logits, self.target, self.num_tokens, label_smoothing=0.1)
        ctc, _ = ctc_loss(
            encoded.ctc_logits,
            encoded.ctc_lengths,
            self.source,
            self.num_tokens,
            blank_index=self.blank,
        )
        return (total + 0.5 * ctc) / self.num_tokens.sum()

    def update(self, dtype: torch.dtype | None, scaler: torch.amp.GradScaler) -> None:
        """Make one update."""
        scaler.scale(self.loss(dtype)).backward()
        scaler.step(self.optimizer)
        scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


def measure_updates(case: Case, arm: str, num: int) -> dict[str, Any]:
    """Return updates a second and the peak of memory of an arm."""
    dtype, uses_tf32 = ARMS[arm]
    torch.backends.cuda.matmul.allow_tf32 = uses_tf32
    torch.backends.cudnn.allow_tf32 = uses_tf32
    is_cuda = case.device.startswith("cuda")
    scaler = torch.amp.GradScaler(case.device.split(":")[0], enabled=dtype == torch.float16)
    for _ in range(2):
        case.update(dtype, scaler)
    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
    case.wait()
    start = time.perf_counter()
    for _ in range(num):
        case.update(dtype, scaler)
    case.wait()
    seconds = time.perf_counter() - start
    peak_gb = torch.cuda.max_memory_allocated() / 1e9 if is_cuda else None
    fits = {} if peak_gb is None else {"peak_gb": peak_gb, "fits_48_gb": peak_gb < LIMIT_GB}
    return {"updates_per_s": num / seconds, **fits}


@torch.no_grad()
def measure_compression(case: Case, num: int) -> float:
    """Return the share of a forward pass that compression takes, its wait included."""
    encoder: Any = case.modules["encoder"]
    spent_s, inner = 0.0, encoder.compression.forward

    def timed(*arguments: Any) -> Any:
        nonlocal spent_s
        case.wait()  # what was asked for before is not its work
        start = time.perf_counter()
        found = inner(*arguments)
        case.wait()
        spent_s += time.perf_counter() - start
        return found

    encoder.compression.forward = timed
    case.wait()
    start = time.perf_counter()
    for _ in range(num):
        encoder(case.feats, case.frames)
    case.wait()
    total_s = time.perf_counter() - start
    encoder.compression.forward = inner
    return spent_s / total_s


@torch.no_grad()
def changed_by_bf16(case: Case) -> dict[str, float]:
    """Return the shares of best symbols and of run boundaries that differ from fp32's."""
    symbols = []
    for dtype in (None, torch.bfloat16):
        with case.precision(dtype):
            encoded = case.modules["encoder"].eval()(case.feats, case.frames)
        symbols.append(encoded.ctc_logits.argmax(-1))
    is_start = [found[:, 1:] != found[:, :-1] for found in symbols]
    return {
        "changed_symbols": float((symbols[0] != symbols[1]).float().mean()),
        "changed_boundaries": float((is_start[0] != is_start[1]).float().mean()),
    }


@torch.no_grad()
def measure_search(case: Case) -> dict[str, Any]:
    """Return utterances a second, and whether batches of 1, 3 and all give the same text."""
    modules, search = case.modules.eval(), case.model["beam_search"]
    encoded = modules["encoder"](case.feats, case.frames)
    states, lengths = encoded.states[:10], encoded.lengths[:10]
    prefix = torch.full((len(states), 1), 2, device=case.device)
    case.wait()
    start = time.perf_counter()
    whole = search(modules["decoder"], states, lengths, prefix)
    seconds = time.perf_counter() - start
    is_same = {}
    for size in (1, 3):
        parts = []
        for first in range(0, len(states), size):
            part = slice(first, first + size)
            parts += search(modules["decoder"], states[part], lengths[part], prefix[part])
        is_same[f"same_as_{size}"] = parts == whole
    return {"utterances_per_s": len(states) / seconds, **is_same}


def compare_ranks(num_ranks: int, num_updates: int) -> dict[str, Any]:
    """Return how far the losses of ranks are from those of one process that accumulates."""
    with tempfile.TemporaryDirectory() as name:
        losses = [
            _losses(Path(name), ranks, num_ranks // ranks, num_updates) for ranks in (1, num_ranks)
        ]
    pairs = list(zip(*losses, strict=True))
    return {
        "ranks": num_ranks,
        "updates": len(pairs),
        "largest_relative_difference": max(abs(a - b) / a for a, b in pairs),
        "first_and_last_loss": [losses[0][0], losses[0][-1]],
    }


def _losses(folder: Path, ranks: int, accumulation: int, num_updates: int) -> list[float]:
    """Train the small model, an epoch an update; return its training losses."""
    output = folder / f"ranks_{ranks}"
    options = {
        "output_folder": output, "work_folder": folder / "work", "corpus.hours": 0.1,
        "model.dropout": 0.0, "spec_augment": "null", "num_warmup": 1, "num_epochs": num_updates,
        "batches_per_epoch": accumulation, "grad_accumulation_factor": accumulation,
    }  # fmt: skip
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    command = [sys.executable, *(launcher if ranks > 1 else []), "train.py", RUN_FILE]
    command += [word for key, value in options.items() for word in (f"--{key}", str(value))]
    command.append("--noprogressbar")
    subprocess.run(command, cwd=ROOT, check=True, stdout=STDERR)  # stdout is for figures alone
    lines = (output / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [row["train_loss"] for row in map(json.loads, lines) if row["stage"] == "valid"]


def main(argv: Sequence[str]) -> int:
    """Run all checks and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--ranks", type=int, help="default: all GPUs; 1: none are compared")
    args = parser.parse_args(argv)
    is_cuda = args.device.startswith("cuda")
    if is_cuda and not torch.cuda.is_available():
        parser.error("no GPU is visible")

    def tell(**values: Any) -> None:
        print(json.dumps(values), flush=True)

    tell(machine=machine(), commit=git_commit(), torch=torch.__version__)
    for compress in ("avg", "identity"):
        for arm in ARMS if is_cuda else ("fp32", "bf16"):
            case = Case(args.device, is_tiny=args.tiny, compress=compress)
            tell(arm=arm, compress=compress, **measure_updates(case, arm, args.updates))
            del case
    case = Case(args.device, is_tiny=args.tiny)
    measure_updates(case, "fp32", args.updates)
    tell(compression_share_of_forward=measure_compression(case, args.updates))
    tell(bf16_beside_fp32=changed_by_bf16(case))
    tell(search=measure_search(case))
    num_ranks = args.ranks or max(1, torch.cuda.device_count())
    if num_ranks > 1:
        tell(ranks=compare_ranks(num_ranks, 2 if args.tiny else RANK_UPDATES))
    else:
        tell(ranks="not run: it takes two GPUs or more")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
