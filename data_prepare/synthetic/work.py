"""Make the units of the corpora in several threads, each with a speaking process of its own.

Threads are enough: the speaking processes make the speech, and the libraries that resample and
write audio let other threads run.
"""

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from data_prepare.synthetic.options import LAYOUTS, Options
from data_prepare.synthetic.speech import SpeakingProcess
from data_prepare.synthetic.units import Layout, Record, Unit

RECORDS_FOLDER = "records"


def write_json(path: Path, value: object) -> None:
    """Write JSON so that the file is there whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


class Workshop:
    """Makes units, each in a new folder that is renamed to its place, and then notes its record.

    A unit with a record is done: work that was stopped goes on where it was.

    Arguments
    ---------
    out_folder : Path
        Parent of the corpora.
    work_folder : Path
        Records and unfinished folders; on the same file system.
    options : Options
        What is made.
    layouts : dict[str, Layout]
        How it is made.
    """

    def __init__(
        self, out_folder: Path, work_folder: Path, *, options: Options, layouts: dict[str, Layout]
    ) -> None:
        self._out_folder = out_folder
        self._records = work_folder / RECORDS_FOLDER
        self._new = work_folder / "new"
        self._options = options
        self._layouts = layouts
        self._of_thread = threading.local()
        self._processes: list[SpeakingProcess] = []

    def make(self, units: list[Unit], *, num_jobs: int, progress: bool) -> None:
        """Make all units that are not done, ``num_jobs`` at a time.

        Arguments
        ---------
        units : list[Unit]
            All units of the corpora, done or not.
        num_jobs : int
            Speaking processes at a time; >= 1.
        progress : bool
            Show a progress bar, in seconds of speech.

        Raises
        ------
        RuntimeError
            If the speaking process fails.
        """
        shutil.rmtree(self._new, ignore_errors=True)
        open_units = [unit for unit in units if not self._record_path(unit).is_file()]
        total_s = round(sum(unit.seconds for unit in units))
        open_s = round(sum(unit.seconds for unit in open_units))
        pool = ThreadPoolExecutor(num_jobs)
        bar = tqdm(
            total=total_s,
            initial=total_s - open_s,
            desc="speaking",
            unit="s",
            disable=not progress,
        )
        try:
            futures = {pool.submit(self._make_one, unit): unit for unit in open_units}
            for future in as_completed(futures):
                future.result()
                bar.update(futures[future].seconds)
        finally:
            bar.close()
            pool.shutdown(cancel_futures=True)
            for process in self._processes:
                process.close()
            self._processes.clear()

    def records(self, units: list[Unit], layout: str) -> Iterator[Record]:
        """Read the records of a layout in the order of its units."""
        for unit in units:
            if unit.layout == layout:
                yield json.loads(self._record_path(unit).read_text(encoding="utf-8"))

    def _record_path(self, unit: Unit) -> Path:
        return self._records / f"{unit.layout}-{unit.index:07d}.json"

    def _make_one(self, unit: Unit) -> None:
        new = self._new / f"{unit.layout}-{unit.index:07d}"
        new.mkdir(parents=True)
        record = self._layouts[unit.layout].make(unit, new, self._options, self._process())
        place = self._out_folder / LAYOUTS[unit.layout] / unit.place
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            shutil.rmtree(place)
        new.replace(place)
        self._records.mkdir(parents=True, exist_ok=True)
        write_json(self._record_path(unit), record)

    def _process(self) -> SpeakingProcess:
        if not hasattr(self._of_thread, "process"):
            self._of_thread.process = SpeakingProcess()
            self._processes.append(self._of_thread.process)
        process: SpeakingProcess = self._of_thread.process
        return process
