"""Download and unpack LibriSpeech's seven archives, each checked by its MD5 sum.

    python -m data_prepare.librispeech_archives /corpora
    python -m data_prepare.librispeech_archives /corpora --subsets dev-clean test-clean

Nothing else in the project downloads a corpus. About 60 GB come over the network; a subset whose
folder is there already is left alone. Source: https://www.openslr.org/12 (CC BY 4.0).
"""

import hashlib
import shutil
import sys
import tarfile
import urllib.request
from pathlib import Path

from data_prepare.command_line import run_command
from data_prepare.files import atomic_path

URL = "https://www.openslr.org/resources/12"
MD5 = {
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
}
_WHERE = "librispeech_archives"
_BLOCK_BYTES = 1 << 20


def download_librispeech(
    out_folder: str | Path,
    *,
    subsets: tuple[str, ...] = (),
    url: str = URL,
    keep_archives: bool = False,
) -> Path:
    """Download what is missing of LibriSpeech, check it, unpack it.

    Arguments
    ---------
    out_folder : str | Path
        Gets LibriSpeech/ with a folder for each subset.
    subsets : tuple[str, ...]
        Subsets wanted; none given: all seven.
    url : str
        Folder with `<subset>.tar.gz`; a mirror's, or `file:///...`.
    keep_archives : bool
        Keep the archives after they were unpacked.

    Returns
    -------
    Path
        The folder LibriSpeech.

    Raises
    ------
    ValueError
        If there is no such subset, or an archive is not the published one.
    """
    wanted = subsets or tuple(MD5)
    unknown = sorted(set(wanted) - set(MD5))
    if unknown:
        raise ValueError(
            f"{_WHERE}: no subset {', '.join(unknown)}; expected some of {', '.join(MD5)}."
        )
    root = Path(out_folder)
    root.mkdir(parents=True, exist_ok=True)
    for subset in wanted:
        if (root / "LibriSpeech" / subset).exists():
            continue
        archive = root / f"{subset}.tar.gz"
        if not archive.exists():
            fetch(f"{url}/{subset}.tar.gz", archive)
        check(archive, MD5[subset])
        unpack(archive, root, subset)
        if not keep_archives:
            archive.unlink()
    return root / "LibriSpeech"


def fetch(address: str, path: Path) -> None:
    """Download a file under a temporary name, then rename it."""
    with (
        urllib.request.urlopen(address) as source,
        atomic_path(path) as temporary,
        temporary.open("wb") as file,
    ):
        shutil.copyfileobj(source, file, _BLOCK_BYTES)


def check(archive: Path, expected: str) -> None:
    """Raise a ValueError unless an archive has its published MD5 sum."""
    digest = hashlib.md5(usedforsecurity=False)
    with archive.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise ValueError(
            f"{_WHERE}: {archive} has MD5 {digest.hexdigest()}; expected {expected}; delete it, "
            "and download it again."
        )


def unpack(archive: Path, root: Path, subset: str) -> None:
    """Unpack an archive beside its place, then move the subset there: whole or not at all."""
    temporary = root / f".{subset}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)
    with tarfile.open(archive) as file:
        file.extractall(temporary, filter="data")
    found = temporary / "LibriSpeech"
    if not (found / subset).is_dir():
        raise ValueError(
            f"{_WHERE}: {archive} holds no LibriSpeech/{subset}; expected the published archive."
        )
    target = root / "LibriSpeech"
    target.mkdir(exist_ok=True)
    for path in sorted(found.iterdir()):
        if path.name != subset and not (target / path.name).exists():  # README, LICENSE, ...
            path.rename(target / path.name)
    (found / subset).rename(target / subset)
    shutil.rmtree(temporary)


if __name__ == "__main__":
    from data_prepare import librispeech_archives as module

    sys.exit(run_command(module.download_librispeech, sys.argv[1:]))
