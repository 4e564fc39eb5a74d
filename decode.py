r"""Decode the test sets of a wav2letter recipe with a beam search and a language model.

    python decode.py recipes/LibriSpeech/wav2letter/hparams/decode_letters.yaml \
        --run_file recipes/LibriSpeech/ASR/lexicon_free/hparams/train.yaml
    python decode.py recipes/LibriSpeech/wav2letter/hparams/decode_letters.yaml \
        --emissions_folder runs/emissions --options.lm_weight 2.5 --num_jobs 8

The network of letters runs once: its emissions stay in ``emissions_folder``, and the same command
with other weights decodes them again, in ``num_jobs`` processes. An attention decoder is asked at
each step, and keeps none (``emissions_folder`` is null). ``run_options`` are those of the run file.
In ``output_folder``: ``decode.json`` (command, commit, machine, weights, error rates, seconds),
``alignments/<test set>.txt``, ``hyperparams.yaml``.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prepare.files import write_json
from recipes.common.distributed import distributed_session
from recipes.common.experiment import save_experiment, starts_of
from recipes.common.faults import plain_faults
from recipes.common.hparams import Run, load_run
from recipes.common.report import results_table
from recipes.LibriSpeech.wav2letter.decoding.decode_sets import Decoded, decode_set, figures
from recipes.LibriSpeech.wav2letter.decoding.emissions import sets_in
from recipes.LibriSpeech.wav2letter.decoding.recipe_brain import decode_inside, emit


def recipe(hparams: Mapping[str, Any]) -> Run:
    """Return the run of the recipe whose network is run."""
    if hparams["run_file"] is None:
        raise FileNotFoundError(
            f"decode: emissions_folder {hparams['emissions_folder']} holds no emissions; expected "
            "some, or the recipe's run file that makes them; give --run_file."
        )
    return load_run([hparams["run_file"], "--test_only", *map(str, hparams["run_options"])])


def decode(hparams: Mapping[str, Any]) -> dict[str, Decoded]:
    """Decode each test set, inside the recipe or from emissions, which are made if absent."""
    search, folder = hparams["search"], hparams["emissions_folder"]
    if folder is None or hparams["run_file"] is not None or not any(sets_in(Path(folder))):
        run = recipe(hparams)
        with distributed_session(run.run_opts) as run_opts:
            if folder is None:
                return decode_inside(search, run, run_opts)
            emit(run, run_opts, Path(folder), options=hparams["run_options"])
    jobs = {"num_jobs": hparams["num_jobs"]}
    return {name: decode_set(search, place, **jobs) for name, place in sets_in(Path(folder))}


def main(argv: Sequence[str]) -> int:
    """Decode the test sets and tell the error rates; return the exit code."""
    with plain_faults():
        run = load_run(argv)
    output_folder = Path(run.hparams["output_folder"])
    with plain_faults(output_folder):
        save_experiment(output_folder, run)
        decoded = decode(run.hparams)
        folder = output_folder / "alignments"
        folder.mkdir(exist_ok=True)
        for name, one in decoded.items():
            one.scores.write_alignments(folder / f"{name.replace('/', '_')}.txt")
    record: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        **starts_of(output_folder)[-1],
        "overrides": run.overrides,
        "results": figures(decoded),
    }
    write_json(output_folder / "decode.json", record)
    print(results_table(record["results"]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
