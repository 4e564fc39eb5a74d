"""Runs train.main for many command lines, each in a fork of one process that imported it once.

    python -m tests.integration.forking < COMMANDS.json

reads lists of arguments, and writes for each: exit code, standard output, standard error.
"""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import train


def run_forked(argv: Sequence[str]) -> dict[str, Any]:
    """Return what a command did, ended as the interpreter would end it."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            _end(argv)
        _, status = os.waitpid(child, 0)
        texts = [(file.seek(0), file.read())[1] for file in (out, err)]
    return {"code": os.waitstatus_to_exitcode(status), "out": texts[0], "err": texts[1]}


def _end(argv: Sequence[str]) -> None:
    sys.argv = ["train.py", *argv]
    code = 1
    try:
        code = train.main(argv)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - shown as the interpreter would, then the fork ends
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    json.dump([run_forked(argv) for argv in json.load(sys.stdin)], sys.stdout)
