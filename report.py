"""Collect all runs under a folder into one table: CSV, Markdown, and a page that sorts and filters.

    python report.py runs/
    python report.py runs/ --where way=hogwild --where 'test_wer<20' --out runs/ledger

Everything is read from the files that runs have written; those that diverged are listed too. In the
output folder: ``ledger.csv``, ``ledger.md``, ``ledger.html``, ``curves/``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from comparing.ledger import Ledger
from comparing.page import page
from recipes.common.experiment import write_atomically
from recipes.common.faults import plain_faults


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of runs, searched with all in it")
    parser.add_argument(
        "--where", action="append", default=[], help="COLUMN=VALUE, also != < > <= >=; repeatable"
    )
    parser.add_argument("--metric", default="wer", help="figure of validations for the curves")
    parser.add_argument("--out", type=Path, help="output folder; FOLDER/ledger by default")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Write the ledger; return the exit code: 1 if a run could not be read."""
    args = parse(argv)
    out = args.out or args.folder / "ledger"
    with plain_faults():
        if not args.folder.is_dir():
            raise FileNotFoundError(f"{args.folder}: is no folder; expected one with runs in it.")
        ledger = Ledger(args.folder, where=args.where, metric=args.metric)
        (out / "curves").mkdir(parents=True, exist_ok=True)
        links = {}
        for row in ledger.rows:
            png = ledger.curve(row["run"])
            if png is not None:
                links[row["run"]] = f"curves/{row['run'].replace('/', '--')}.png"
                (out / links[row["run"]]).write_bytes(png)
        table = ledger.table(links, home=out)
        write_atomically(out / "ledger.csv", ledger.csv(links))
        write_atomically(out / "ledger.md", "\n".join(["# Runs", "", *table.markdown()]))
        text = page("Runs", about=[], tables=[table], data=ledger.rows)
        write_atomically(out / "ledger.html", text)
    for name, fault in ledger.faults.items():
        sys.stderr.write(f"left out {name}: {fault}\n")
    print(f"{len(ledger.rows)} runs: {out}/ledger.html")
    return 1 if ledger.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
