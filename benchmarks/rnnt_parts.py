"""Measure parts of the transducer as they are, compiled, and as CUDA graphs.

    python -m benchmarks.rnnt_parts --batches 8
    python -m benchmarks.rnnt_parts --device cuda --repeats 50

What decides whether `torch.compile` and CUDA graphs pay: features with SpecAugment; the update of
all parameters with their average (compiled for one number of the update: the best case); joint and
loss with compiled elementwise work; encoder and predictor, forward and backward, as a graph for
one shape (CUDA only). Besides, the search of many utterances in one batch, and the speed of one
utterance of 12 s. The model has the benchmark's size. On a CPU: seconds of this process's CPU time.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from hyperpyyaml import load_hyperpyyaml
from torch import Tensor, nn

from benchmarks.measuring import RESULTS, head, setting, table, write_report
from benchmarks.rnnt_loss import SIZE, make_inputs
from benchmarks.rnnt_measuring import fault_of, peak_mib, reset_peak, seconds_of
from benchmarks.rnnt_task import HPARAMS, RATE_HZ, SAMPLES, TOKENS
from recipes.LibriSpeech.ASR.transducer import lamb
from recipes.LibriSpeech.ASR.transducer.augment import SpecAugment, SpeedPerturb
from recipes.LibriSpeech.ASR.transducer.ema import ModelAverage
from recipes.LibriSpeech.ASR.transducer.features import splice
from recipes.LibriSpeech.ASR.transducer.kernels import RowKernels
from recipes.LibriSpeech.ASR.transducer.lattice import solve
from recipes.LibriSpeech.ASR.transducer.loss import PackedLoss, make_loss

STEPS, FRAMES, CLASSES = 205, 409, 1024
"""Encoder steps and spliced frames of the benchmark's synthetic utterance; classes."""
DEV = {"cuda": (2703, 117), "cpu": (32, 117)}
"""Utterances of the search, and their encoder steps: dev-clean's on a GPU."""

Row = dict[str, Any]


class EncoderAndPredictor(nn.Module):
    """What a CUDA graph can hold: all of the forward pass before the loss.

    Arguments
    ---------
    modules : Any
        The recipe's, by name.
    """

    def __init__(self, modules: Any) -> None:
        super().__init__()
        self.encoder, self.predictor = modules["encoder"], modules["predictor"]

    def forward(self, feats: Tensor, num_frames: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return both halves of the joint."""
        return self.encoder(feats, num_frames)[0], self.predictor(tokens)


def compare(name: str, ways: dict[str, Callable[[], Any]], options: argparse.Namespace) -> Row:
    """Return the milliseconds of each way of a part; in `faults` why a way has none."""
    row: Row = {"part": name, "faults": {}}
    for way, act in ways.items():
        try:
            row[way] = 1000 * seconds_of(act, options.device, repeats=options.repeats)
        except Exception as error:  # noqa: BLE001 - reason: what compilers and devices raise has no
            # common kind, and one way without a figure must not cost those of the others.
            row["faults"][way] = fault_of(error)
    print(row, flush=True)
    return row


def features(model: Any, batch: int, options: argparse.Namespace) -> Row:
    """Measure features, SpecAugment and splicing."""
    wavs = 0.1 * torch.randn(batch, SAMPLES, device=options.device)
    num_samples = torch.full((batch,), SAMPLES, device=options.device)
    augment = SpecAugment()

    def act(front_end: Any, vectorised: Any) -> None:
        mels, num_frames = front_end(wavs, num_samples)
        draws = augment.draw(batch, wavs.device)
        splice(vectorised(mels, num_frames, draws), num_frames)

    plain = model["front_end"]
    fast = torch.compile(plain), torch.compile(augment.vectorised)
    ways = {"as it is": lambda: act(plain, augment.vectorised), "compiled": lambda: act(*fast)}
    return compare(f"features, batch {batch}", ways, options)


def update(model: Any, options: argparse.Namespace) -> Row:
    """Measure LAMB and the average over all parameters."""
    modules = nn.ModuleDict(model["modules"])
    params = [p.detach().clone() for p in modules.parameters()]
    average = ModelAverage(modules, decay=0.99)
    grads, means = ([torch.randn_like(p) for p in params] for _ in range(2))
    squares = [torch.rand_like(p) for p in params]
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-9, "weight_decay": 1e-3}

    def act(how: Any) -> None:
        how(params, grads, means, squares, number=10, group=group)
        average.update()

    fast = torch.compile(lamb.update)
    ways = {"as it is": lambda: act(lamb.update), "compiled": lambda: act(fast)}
    return compare("update and average", ways, options)


def joint_and_loss(batch: int, options: argparse.Namespace) -> Row:
    """Measure the packed loss, forward and backward."""
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    inputs = make_inputs(
        (batch, STEPS, TOKENS, CLASSES), lengths="full", device=options.device, dtype=dtype
    )

    def act(loss: Any) -> None:
        loss(inputs).mean().backward()

    kernels = RowKernels()
    kernels.scores = torch.compile(kernels.scores)  # type: ignore[method-assign]
    kernels.grads_ = torch.compile(kernels.grads_)  # type: ignore[method-assign]
    ways = {
        "as it is": PackedLoss(options.chunk_rows, RowKernels(), solve),
        "compiled": PackedLoss(options.chunk_rows, kernels, solve),
    }
    if options.device == "cuda":
        ways["triton"] = make_loss(
            "triton", chunk_rows=options.chunk_rows, joint_size=SIZE, num_classes=CLASSES
        )
    acts = {name: partial(act, loss) for name, loss in ways.items()}
    return compare(f"joint and loss, batch {batch}", acts, options)


def networks(model: Any, batch: int, options: argparse.Namespace) -> Row:
    """Measure encoder and predictor, forward and backward, as they are and as a graph."""
    plain = EncoderAndPredictor(model).train()
    sample = (
        torch.randn(FRAMES, batch, plain.encoder.in_feats, device=options.device),
        torch.full((batch,), FRAMES, device=options.device),
        torch.randint(0, CLASSES - 1, (batch, TOKENS), device=options.device),
    )

    def act(how: Any) -> None:
        enc, pred = how(*sample)
        (enc.mean() + pred.mean()).backward()

    ways: dict[str, Callable[[], Any]] = {"as it is": lambda: act(plain)}
    row = compare(f"encoder and predictor, batch {batch}", ways, options)
    if options.device == "cuda":
        # After the plain way: the call replaces the module's own forward.
        graph = cache(lambda: torch.cuda.make_graphed_callables(plain, sample))
        other = compare(row["part"], {"graph": lambda: act(graph())}, options)
        row |= other | {"faults": row["faults"] | other["faults"]}
    return row


def search(model: Any, options: argparse.Namespace) -> Row:
    """Measure greedy search of many utterances at once."""
    num, steps = DEV[options.device]
    enc = torch.randn(num, steps, model["joint_size"], device=options.device)
    lengths = torch.full((num,), steps, device=options.device)
    name = f"search of {num} utterances of 7 s"
    return compare(name, {"as it is": lambda: model["search"](enc, lengths)}, options)


def speed(options: argparse.Namespace) -> Row:
    """Measure the speed of one utterance of 12 s, its filters made anew, with peak memory."""
    num = 12 * RATE_HZ
    wavs = torch.randn(1, num, device=options.device)
    perturb = SpeedPerturb()
    before = reset_peak(options.device)
    row = compare("speed of 12 s", {"as it is": lambda: perturb(wavs, [num], [87])}, options)
    return row | {"peak_mib": peak_mib(options.device) - before}


def parts(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the figures of each part."""
    with (HPARAMS / "model/transducer.yaml").open(encoding="utf-8") as file:
        model = load_hyperpyyaml(file, {"vocab_size": CLASSES - 1, "in_feats": 256})
    for module in model["modules"].values():
        module.to(options.device)
    yield speed(options)
    yield update(model, options)
    for batch in options.batches:
        yield features(model, batch, options)
        yield joint_and_loss(batch, options)
        yield networks(model, batch, options)
    for module in model["modules"].values():
        module.eval()
    yield search(model, options)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 16, 192])
    parser.add_argument("--chunk_rows", type=int, default=None, help="default: by the device")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="on a CPU")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    options.chunk_rows = options.chunk_rows or (32768 if options.device == "cuda" else 2048)
    return options


def report_lines(record: dict[str, Any], options: argparse.Namespace) -> list[str]:
    """Return the report."""
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    lines = head("Parts of the transducer", record)
    lines += [f"On {name}; medians of {options.repeats} calls after 3, milliseconds.", ""]
    ways = ("as it is", "compiled", "graph", "triton")
    rows = record["rows"]
    lines += table(
        ["part", *ways, "peak MiB above"],
        [
            [row["part"], *(f"{row[w]:.2f}" if w in row else "" for w in ways),
             f"{row['peak_mib']:.0f}" if "peak_mib" in row else ""]
            for row in rows
        ],
    )  # fmt: skip
    faults = [(row["part"], way, row["faults"][way]) for row in rows for way in row["faults"]]
    return lines + [f"No figure of {part}, {way}: {fault}." for part, way, fault in faults]


def main(argv: Sequence[str]) -> int:
    """Measure, print and write the report; return the exit code."""
    options = parse(argv)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    record = setting("rnnt_parts", argv, ("torch", "torchaudio"))
    record["rows"] = []
    for row in parts(options):
        record["rows"].append(row)
        path = write_report(
            options.out, f"rnnt-parts-{options.device}", record, report_lines(record, options)
        )
    print("\n".join(report_lines(record, options)), path, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
