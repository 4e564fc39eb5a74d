"""What the launch files would run, by their dry runs."""

import os
import re
import shlex
import subprocess

import pytest

from tests.conftest import ROOT

LAUNCH = "recipes/LibriSpeech/ASR/transducer/launch"
CONFIGS = sorted(path.name for path in (ROOT / LAUNCH).glob("config_*.sh"))
OWN = (
    "DGX", "BATCH", "GRAD", "PRESET", "SLURM", "RANK", "LOCAL_RANK", "SEED", "MASTER", "WALL",
    "CACHES", "PYTHON",
)  # fmt: skip


def dry_run(script, *arguments, config=None, fails=False, **variables):
    """Return the commands that a launch file shows, as words."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(OWN)}
    env = {**clean, "DRY_RUN": "1", **{key: str(value) for key, value in variables.items()}}
    lines = [f"source {LAUNCH}/{config}"] if config else []
    lines.append(shlex.join(["bash", f"{LAUNCH}/{script}", *arguments]))
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else [shlex.split(line) for line in done.stdout.splitlines()]


def options_of(words):
    pairs = zip(words, words[1:], strict=False)
    return {key.removeprefix("--"): value for key, value in pairs if key.startswith("--")}


@pytest.mark.parametrize("config", CONFIGS)
def test_config_gives_its_presets_batches(config):
    nodes, gpus, batch, parts = map(int, re.findall(r"\d+", config))
    (words,) = dry_run("run_and_time.sh", config=config, LOGDIR="/results")
    options = options_of(words)
    assert int(options["micro_batch"]) == batch // parts
    (preset,) = [word for word in words if word.endswith(".yaml")]
    assert (ROOT / preset).is_file()
    assert preset.endswith(f"/{nodes * gpus * batch}.yaml")
    assert options["target_value"] == "5.8"
    has_torchrun = "torch.distributed.run" in words
    assert has_torchrun == (gpus > 1)


def test_variables_become_options():
    (words,) = dry_run(
        "run_and_time.sh", config="config_1x8x192x1.sh", LOGDIR="/r", DATADIR="/d", WORKDIR="/w",
        SEED=7, EPOCH=3, TARGET=0.06, MAX_SYMBOL=200, PRECISION="fp16", EXTRA="--log_every 1000",
        CACHES_CLEARED="True",
    )  # fmt: skip
    found = options_of(words)
    assert found["output_folder"] == "/r/1536-7"
    assert found["mlperf_log"] == "/r/1536-7/mlperf.log"
    expected = {
        "data_folder": "/d", "work_folder": "/w", "seed": "7", "num_epochs": "3",
        "target_value": "6", "max_tokens": "200", "precision": "fp16", "log_every": "1000",
        "submission.caches_cleared": "True",
    }  # fmt: skip
    assert expected.items() <= found.items()


def test_options_are_those_of_the_run_file():
    from recipes.common.hparams import load_run

    (words,) = dry_run("run_and_time.sh", config="config_1x1x1024x8.sh", LOGDIR="/r")
    assert words[:2] == ["python", "train.py"]
    with pytest.raises(SystemExit):
        load_run([*words[2:], "--dry_run"])


@pytest.mark.parametrize(
    ("config", "micro_batch"), [("config_1x8x192x1.sh", "192"), ("config_1x1x1024x8.sh", "128")]
)
def test_synthetic_data_measure_throughput(config, micro_batch):
    (words,) = dry_run("run_and_time.sh", config=config, SYNTH_DATA=1)
    assert words[1:3] == ["-m", "benchmarks.rnnt_throughput"]
    assert options_of(words)["batch"] == micro_batch


def test_ranks_come_from_slurm():
    (words,) = dry_run(
        "run_and_time.sh", config="config_8x8x32x1.sh", SLURM_PROCID=9, SLURM_LOCALID=1,
        SLURM_NTASKS=64, MASTER_ADDR="node0", DGXNSOCKET=1,
    )  # fmt: skip
    assert words[:2] == ["python", "train.py"]


def test_batch_that_does_not_divide_is_refused():
    said = dry_run(
        "run_and_time.sh", fails=True, DGXNNODES=1, DGXNGPU=8, BATCHSIZE=192, PRESET=1536,
        GRAD_ACCUMULATION_STEPS=5,
    )  # fmt: skip
    assert "no multiple of GRAD_ACCUMULATION_STEPS 5" in said


def test_batch_of_another_preset_is_refused():
    said = dry_run(
        "run_and_time.sh", fails=True, DGXNNODES=1, DGXNGPU=4, BATCHSIZE=192, PRESET=1536,
        GRAD_ACCUMULATION_STEPS=1,
    )  # fmt: skip
    assert "= 768 utterances an update" in said


def test_pyxis_mounts_and_runs(tmp_path):
    lines = dry_run(
        "slurm_pyxis.sh", config="config_8x8x32x1.sh", CONT="image", DATADIR="/d", NEXP=2,
        LOGDIR=tmp_path / "logs", SEED=5,
    )  # fmt: skip
    assert len(lines) == 5  # the image once; caches and run for each of two
    assert "--container-image=image" in lines[0]
    assert "vm.drop_caches=3" in " ".join(lines[1])
    assert {"--ntasks=64", "--ntasks-per-node=8", "--mpi=none"} <= set(lines[2])
    mounts = next(word for word in lines[2] if word.startswith("--container-mounts="))
    assert "/d:/datasets/LibriSpeech:ro" in mounts


def test_plain_slurm_starts_a_task_for_each_gpu(tmp_path):
    (words,) = dry_run(
        "slurm_plain.sh", config="config_16x8x16x1.sh", DATADIR="/d", LOGDIR=tmp_path / "logs"
    )
    assert {"--ntasks=128", "--ntasks-per-node=8"} <= set(words)


def test_docker_commands():
    (build,) = dry_run("docker.sh", "build")
    assert build[:2] == ["docker", "build"]
    assert (ROOT / build[3]).is_file()
    (run,) = dry_run("docker.sh", "run", "/d", "/r", "/w", config="config_1x8x192x1.sh")
    assert run[-1].endswith("run_and_time.sh")
    assert "/d:/datasets/LibriSpeech:ro" in run
    said = dry_run("docker.sh", "walk", "/d", "/r", "/w", fails=True)
    assert "expected build, shell or run" in said
