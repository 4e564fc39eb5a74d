r"""Decode the test sets of a letter recipe with a beam search and a language model.

    python decode.py recipes/LibriSpeech/wav2letter/hparams/decode_letters.yaml \
        --run_file recipes/LibriSpeech/ASR/lexicon_free/hparams/train.yaml
    python decode.py recipes/LibriSpeech/wav2letter/hparams/decode_letters.yaml \
        --emissions_folder runs/emissions --options.lm_weight 2.5 --num_jobs 8

The network runs once: its emissions stay in ``emissions_folder``, and the same command with other
weights decodes them again, in ``num_jobs`` processes. ``run_options`` are those of the run file,
such as ``[--output_folder, runs/mine]``. In ``output_folder``: ``decode.json`` (command, commit,
weights, error rates, seconds), ``alignments/<test set>.txt``, ``hyperparams.yaml``.
The attention decoder searches inside its recipe: ``python train.py FILE.yaml --test_only``.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prepare.files import write_json
from recipes.common.distributed import distributed_session
from recipes.common.experiment import git_commit, save_experiment
from recipes.common.faults import plain_faults
from recipes.common.hparams import load_run
from recipes.common.report import machine, results_table
from recipes.LibriSpeech.wav2letter.decoding.decode_sets import decode_set, emit, figures
from recipes.LibriSpeech.wav2letter.decoding.emissions import sets_in


def find_sets(hparams: Mapping[str, Any]) -> dict[str, Path]:
    """Return the sets of emissions; they are made first if there is none."""
    folder = Path(hparams["emissions_folder"])
    if not any(sets_in(folder)):
        if hparams["run_file"] is None:
            raise FileNotFoundError(
                f"decode: {folder} holds no emissions; expected some, or the recipe's run file "
                "that makes them; give --run_file."
            )
        run = load_run([hparams["run_file"], *map(str, hparams["run_options"])])
        with distributed_session(run.run_opts) as run_opts:
            emit(run, run_opts, folder)
    return dict(sets_in(folder))


def main(argv: Sequence[str]) -> int:
    """Find or make the emissions, decode them, and tell the error rates; return the exit code."""
    with plain_faults():
        run = load_run(argv)
    hparams, output_folder = run.hparams, Path(run.hparams["output_folder"])
    with plain_faults(output_folder):
        save_experiment(output_folder, run)
        decoded = {}
        for name, folder in find_sets(hparams).items():
            decoded[name] = decode_set(hparams["search"], folder, num_jobs=hparams["num_jobs"])
            path = output_folder / "alignments" / f"{name.replace('/', '_')}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            decoded[name].scores.write_alignments(path)
    results = figures(decoded)
    record = {
        "command": shlex.join(["python", *sys.argv]),
        "commit": git_commit(),
        "machine": machine(),
        "overrides": run.overrides,
        "results": results,
    }
    write_json(output_folder / "decode.json", record)
    print(results_table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
