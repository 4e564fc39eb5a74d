"""Compare precisions on any recipe: faster, as good, or nobody can tell.

    python compare_precision.py hparams/train.yaml --arms fp32 bf16 --units 5
    python compare_precision.py recipes/TriggerWord/Detection/conv_gru/hparams/small.yaml \
        --arms fp32 bf16 --units 5 --updates 600 --margin 0.01
    python compare_precision.py hparams/train.yaml --arms fp32 fp32
    python compare_precision.py hparams/train.yaml --arms fp32 fp32 --delay_ms 5

Arms: fp32, bf16, and on a GPU tf32 and fp16; the first is what the others are compared with. The
third command has to find nothing, the fourth the sleep: try them on a machine before you believe
it. Other options go to the run, as those of train.py. In ``--output``: ``precision.md``, ``.json``
with every measured value, and ``.png``.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from comparing.arms import ABOUT, make_arms
from comparing.precision import compare
from comparing.precision_report import write_report
from comparing.protocol import Protocol
from recipes.common.faults import plain_faults


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return this program's own options, and what the runs get."""
    parser = argparse.ArgumentParser(
        prog="compare_precision.py", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    default = Protocol()
    add = parser.add_argument
    add("run_file", help="YAML of train.py")
    add("--arms", nargs="+", choices=list(ABOUT), default=["fp32", "bf16"], help="baseline first")
    add("--units", type=int, default=default.units, help="seeds")
    add(
        "--warmup_steps",
        type=int,
        default=default.warmup_steps,
        help="of each arm before it is timed",
    )
    add("--timed_steps", type=int, default=default.timed_steps, help="of an arm in a unit")
    add("--updates", type=int, help="applied updates before quality is measured")
    add("--num_batches", type=int, default=default.num_batches, help="loaded for each unit")
    add("--valid_batches", type=int, help="of the validation data; all if not given")
    add("--first_seed", type=int, default=default.first_seed, help="of the first unit")
    add("--resolution", type=float, default=default.resolution, help="least difference of speed")
    add("--margin", type=float, help="how much worse the validation metric may be")
    add("--target", type=float, help="of the validation metric: updates to it")
    add("--target_every", type=int, default=default.target_every, help="updates between looks")
    add("--delay_ms", type=float, default=0.0, help="sleep of the last arm, as a control")
    add("--output", type=Path, default=Path("runs/compare_precision"), help="folder")
    return parser.parse_known_args(argv)


def main(argv: Sequence[str]) -> int:
    """Compare, write the report and print it; return the exit code."""
    args, options = parse(argv)
    with plain_faults():
        protocol = Protocol(
            units=args.units,
            warmup_steps=args.warmup_steps,
            timed_steps=args.timed_steps,
            updates=args.updates,
            num_batches=args.num_batches,
            valid_batches=args.valid_batches,
            first_seed=args.first_seed,
            resolution=args.resolution,
            margin=args.margin,
            target=args.target,
            target_every=args.target_every,
        )
        arms = make_arms(args.arms, delay_ms=args.delay_ms)
        found = compare(args.run_file, arms, protocol, options=options, folder=args.output)
        command = shlex.join(["python", "compare_precision.py", *argv])
        path = write_report(found, folder=args.output, command=command)
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
