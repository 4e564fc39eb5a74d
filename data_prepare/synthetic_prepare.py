"""Speak an earnings-call corpus with eSpeak NG and lay it out on disk as the real corpora are.

    python -m data_prepare.synthetic_prepare OUT --hours 1 --num_jobs 2

writes OUT/bizspeech, OUT/SPGISpeech and OUT/LibriSpeech (and, with --layouts mustc, OUT/MuST-C
with translations), in the layouts that the preparers data_prepare.bizspeech, .spgispeech,
.librispeech and .mustc read, then OUT/synthetic_truth.json (what was placed where) and, last,
OUT/synthetic.json (the options). The same options give the same bytes, whatever the number of jobs.
Persons are unique: each call and each reader has voices of its own.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prepare.prepared import locked
from data_prepare.synthetic import (
    bizspeech_layout,
    librispeech_layout,
    mustc_layout,
    spgispeech_layout,
)
from data_prepare.synthetic.options import LAYOUTS, SPEECH_LAYOUTS, Options
from data_prepare.synthetic.work import RECORDS_FOLDER, Workshop, write_json

OPTIONS_FILE = "synthetic.json"
TRUTH_FILE = "synthetic_truth.json"

_WORK_FOLDER = ".synthetic_work"
_MAKERS = {
    "bizspeech": bizspeech_layout.LAYOUT,
    "spgispeech": spgispeech_layout.LAYOUT,
    "librispeech": librispeech_layout.LAYOUT,
    "mustc": mustc_layout.LAYOUT,
}
_SMALL_SHARE = 0.1


def prepare_synthetic(  # noqa: PLR0913 - the options of the corpus, all by keyword
    out_folder: str | Path,
    *,
    hours: float = 1.0,
    seed: int = 0,
    layouts: Sequence[str] = SPEECH_LAYOUTS,
    minutes_per_call: float = 3.0,
    nonnative: float = 0.25,
    dirt: float = 0.02,
    spgispeech_hours: float | None = None,
    librispeech_hours: float | None = None,
    mustc_hours: float | None = None,
    num_jobs: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Path]:
    """Make synthetic corpora, or find them made, and give their folders by layout.

    Lengths are met within a few percent. BizSpeech has at least 6 calls, SPGISpeech at least 2 a
    split, LibriSpeech at least 2 speakers a subset: below about a minute they grow no smaller.

    Arguments
    ---------
    out_folder : str | Path
        Parent of the corpora; made if needed.
    hours : float
        Length of BizSpeech in hours.
    seed : int
        Decides texts, voices and dirt.
    layouts : Sequence[str]
        Some of ``bizspeech``, ``spgispeech``, ``librispeech``, and ``mustc`` (English with
        translations into a language made by rules, see `data_prepare.synthetic.translation`).
    minutes_per_call : float
        Wanted length of a BizSpeech call in minutes; the last digit bends so that calls are equal.
    nonnative : float
        Share of BizSpeech calls whose presenters and analysts, and of MuST-C talks whose speakers
        are not native speakers.
    dirt : float
        Share of BizSpeech rows with dirt; above 0 there are also extra events with the dirt of
        whole events. Kinds: data_prepare.synthetic.dirt.
    spgispeech_hours : float | None
        Length of SPGISpeech in hours; a tenth of ``hours`` when None.
    librispeech_hours : float | None
        Length of LibriSpeech in hours; a tenth of ``hours`` when None.
    mustc_hours : float | None
        Length of MuST-C in hours; a tenth of ``hours`` when None.
    num_jobs : int
        Speaking processes at a time.
    overwrite : bool
        Delete corpora made here before with other options.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict of str to Path
        Layout -> its folder: what the preparer of the layout calls ``data_folder``.

    Raises
    ------
    ValueError
        If options are wrong, or the folder holds corpora made with others.
    FileExistsError
        If a corpus is in the way that was not made here.
    RuntimeError
        If the speech library cannot be used, or another process makes corpora in the folder.
    """
    options = Options(
        hours=hours,
        seed=seed,
        layouts=tuple(layouts),
        minutes_per_call=minutes_per_call,
        nonnative=nonnative,
        dirt=dirt,
        spgispeech_hours=_SMALL_SHARE * hours if spgispeech_hours is None else spgispeech_hours,
        librispeech_hours=_SMALL_SHARE * hours if librispeech_hours is None else librispeech_hours,
        mustc_hours=_SMALL_SHARE * hours if mustc_hours is None else mustc_hours,
    )
    options.check()
    if num_jobs < 1:
        raise ValueError(
            f"synthetic_prepare: num_jobs is {num_jobs}; expected 1 or more; raise it."
        )
    folder = Path(out_folder)
    if not _is_made(folder, options):
        with locked(folder):
            if not _is_made(folder, options):  # by another process, meanwhile
                _make(folder, options, num_jobs=num_jobs, overwrite=overwrite, progress=progress)
    return {name: folder / LAYOUTS[name] for name in options.layouts}


def _is_made(folder: Path, options: Options) -> bool:
    return _read(folder / OPTIONS_FILE) == options.record() and _is_there(folder, options)


def _make(
    folder: Path, options: Options, *, num_jobs: int, overwrite: bool, progress: bool
) -> None:
    work_folder = folder / _WORK_FOLDER
    _make_room(folder, options, overwrite=overwrite)
    shop = Workshop(folder, work_folder, options=options, layouts=_MAKERS)
    units = [unit for name in options.layouts for unit in _MAKERS[name].plan(options)]
    shop.make(units, num_jobs=num_jobs, progress=progress)
    truth = {
        name: _MAKERS[name].finish(folder / LAYOUTS[name], shop.records(units, name))
        for name in sorted(options.layouts)
    }
    write_json(folder / TRUTH_FILE, truth)
    write_json(folder / OPTIONS_FILE, options.record())
    shutil.rmtree(work_folder, ignore_errors=True)


def _make_room(folder: Path, options: Options, *, overwrite: bool) -> None:
    """Make room for what is to be made, or refuse, and note the options."""
    done = folder / OPTIONS_FILE
    begun = folder / _WORK_FOLDER / OPTIONS_FILE
    path = done if done.is_file() else begun
    found = _read(path)
    is_same = found == options.record()
    if found and not (is_same or overwrite):
        raise ValueError(_difference(path, found, options.record()))
    begun.parent.mkdir(parents=True, exist_ok=True)
    if found and (path == done or not is_same):
        _clear(folder, layouts=found["layouts"])
    _check_free(folder, options, made_here=found.get("layouts", []))
    write_json(begun, options.record())


def _read(path: Path) -> dict[str, Any]:
    """Return noted options; empty where there are none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _is_there(folder: Path, options: Options) -> bool:
    return all((folder / LAYOUTS[name]).is_dir() for name in options.layouts)


def _check_free(folder: Path, options: Options, *, made_here: list[str]) -> None:
    for name in options.layouts:
        path = folder / LAYOUTS[name]
        if path.exists() and name not in made_here:
            raise FileExistsError(
                f"synthetic_prepare: {path} was not made here; expected a free place; "
                "choose another out_folder."
            )


def _clear(folder: Path, *, layouts: list[str]) -> None:
    """Delete what was made, so that a stop at any point leaves work that is begun, not done."""
    if (folder / OPTIONS_FILE).is_file():
        (folder / OPTIONS_FILE).replace(folder / _WORK_FOLDER / OPTIONS_FILE)
    (folder / TRUTH_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder / _WORK_FOLDER / RECORDS_FOLDER, ignore_errors=True)
    for name in layouts:
        shutil.rmtree(folder / LAYOUTS[name], ignore_errors=True)


def _difference(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> str:
    keys = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    faults = [f"{key} was {found.get(key)!r}, now {wanted.get(key)!r}" for key in keys]
    return (
        f"synthetic_prepare: {path} tells of other options ({'; '.join(faults)}); expected the "
        "same; give another out_folder, or overwrite=True to delete what is there."
    )


def build_parser() -> argparse.ArgumentParser:
    """Build the command line, one option for each argument of `prepare_synthetic`."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prepare.synthetic_prepare",
        description=__doc__,
        formatter_class=_HelpFormatter,
    )
    add = parser.add_argument
    add("out_folder", help="parent of the corpora")
    add("--hours", type=float, default=1.0, help="length of BizSpeech")
    add("--seed", type=int, default=0, help="decides texts, voices and dirt")
    add("--layouts", nargs="+", choices=list(LAYOUTS), default=SPEECH_LAYOUTS, help="corpora made")
    add("--minutes_per_call", type=float, default=3.0, help="wanted length of a call")
    add("--nonnative", type=float, default=0.25, help="share of calls by non-native speakers")
    add("--dirt", type=float, default=0.02, help="share of rows with dirt; 0 leaves all clean")
    add("--spgispeech_hours", type=float, help="length of SPGISpeech; None: a tenth of hours")
    add("--librispeech_hours", type=float, help="length of LibriSpeech; None: a tenth of hours")
    add("--mustc_hours", type=float, help="length of MuST-C; None: a tenth of hours")
    add("--num_jobs", type=int, default=1, help="speaking processes at a time")
    add("--overwrite", action="store_true", help="delete what was made here with other options")
    add(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show a progress bar",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, say where the corpora are or what is wrong; give the exit status."""
    arguments = vars(build_parser().parse_args(argv))
    try:
        folders = prepare_synthetic(**arguments)
    except (ValueError, FileExistsError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for layout, folder in folders.items():
        sys.stdout.write(f"{layout}: {folder}\n")
    return 0


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults in the help, and the description as it stands."""


if __name__ == "__main__":
    sys.exit(main())
