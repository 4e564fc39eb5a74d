"""A Slurm cluster of one node, on this machine and in a folder of its own: munge, controller, node.

    python -m tests.cluster.slurm_node FOLDER COMMAND...

runs a command while the cluster is up. Needs the Debian packages slurm-wlm and munge, and root.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
NODE = "localhost"
NUM_CPUS = 4  # more than there may be: the tests' jobs wait more than they compute
START_S = 30.0
CONFIG = """\
ClusterName=test
SlurmctldHost={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPort={port}
SlurmdPort={other_port}
SrunPortRange=0-0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=100000
KillWait=5
InactiveLimit=0
MinJobAge=600
ReturnToService=2
NodeName={node} CPUs={cpus} State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Return why there can be no cluster here; None if there can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if absent:
        return f"no {', '.join(absent)}: install the packages slurm-wlm and munge"
    return None if os.geteuid() == 0 else "Slurm's node needs root"


def _path() -> str:
    return os.environ["PATH"] + ":/usr/sbin:/sbin"


@contextmanager
def slurm_cluster(folder: Path, *, port: int = 27117) -> Iterator[dict[str, str]]:
    """Start the cluster; yield the environment in which Slurm's commands find it.

    Arguments
    ---------
    folder : Path
        Everything lies in it; its path must be short, as that of a socket is.
    port : int
        Of the controller; the next one is the node's.

    Yields
    ------
    dict
        Environment.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    config = folder / "slurm.conf"
    config.write_text(
        CONFIG.format(node=NODE, folder=folder, port=port, other_port=port + 1, cpus=NUM_CPUS)
    )
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    folder.chmod(0o755)
    environment = {**os.environ, "PATH": _path(), "SLURM_CONF": str(config)}
    munge = ["munged", "--foreground", "--force", f"--key-file={key}"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    daemons = [
        [*munge, f"--socket={folder}/munge.socket"],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-c", "-N", NODE],
    ]
    started = []
    try:
        for command in daemons:
            started.append(subprocess.Popen(command, env=environment, **_quiet(folder, command[0])))
            time.sleep(0.5)
        _wait_until_idle(environment, folder)
        yield environment
    finally:
        subprocess.run(["scancel", "--user=root"], env=environment, check=False)
        time.sleep(0.5)
        for process in reversed(started):
            process.terminate()
            process.wait(30)


def _quiet(folder: Path, name: str) -> dict[str, object]:
    said = (folder / f"{name}.out").open("ab")
    return {"stdout": said, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}


def _wait_until_idle(environment: dict[str, str], folder: Path) -> None:
    end = time.monotonic() + START_S
    state = ""
    while time.monotonic() < end:
        done = subprocess.run(
            ["sinfo", "-h", "-o", "%t"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        state = done.stdout.strip() or done.stderr.strip()
        if state == "idle":
            return
        time.sleep(0.2)
    logs = "".join(path.read_text()[-1500:] for path in sorted(folder.glob("*.log")))
    raise RuntimeError(f"Slurm's node is {state!r} after {START_S:g} s; expected idle:\n{logs}")


def main(argv: Sequence[str]) -> int:
    """Run a command while the cluster is up; return its exit code."""
    with slurm_cluster(Path(argv[0])) as environment:
        return subprocess.run(argv[1:], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
