"""Refuse files in git that do not belong there: over 1 MB, audio, weights. Used by pre-commit."""

import subprocess
import sys
from pathlib import Path

LIMIT_BYTES = 1_000_000
BINARY = {".wav", ".flac", ".mp3", ".ogg", ".tar", ".ckpt", ".pt", ".npy", ".model"}


def faults(paths: list[Path]) -> list[str]:
    """Return one line per file that is too large or binary data."""
    large = [f"{p}: {p.stat().st_size} bytes" for p in paths if p.stat().st_size > LIMIT_BYTES]
    return large + [f"{p}: binary data" for p in paths if p.suffix in BINARY]


if __name__ == "__main__":
    names = sys.argv[1:] or subprocess.check_output(["git", "ls-files"], text=True).splitlines()
    found = faults([Path(name) for name in names if Path(name).is_file()])
    sys.stderr.write("".join(f"{line}\n" for line in found))
    sys.exit(bool(found))
