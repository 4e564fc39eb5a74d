"""Files of OpenSLR 11, the language models and text of LibriSpeech, fetched only when asked for.

Source: https://www.openslr.org/11. OpenSLR publishes no checksums for it; these are the MD5 sums
that preparation scripts of other projects hold for the same files.
"""

from __future__ import annotations

import hashlib
import logging
import urllib.request
from pathlib import Path

from data_prepare.files import atomic_path

logger = logging.getLogger(__name__)

ADDRESS = "https://www.openslr.org/resources/11"
LM_TEXT, FOUR_GRAM = "librispeech-lm-norm.txt.gz", "4-gram.arpa.gz"
MD5 = {
    LM_TEXT: "c83c64c726a1aedfe65f80aa311de402",
    FOUR_GRAM: "6abdcd5b055bd482e4f9defe91d40408",
}
_BLOCK_BYTES = 1 << 20
_TIMEOUT_S = 60.0


def fetch(name: str, folder: str | Path, *, address: str = ADDRESS) -> Path:
    """Return a file of OpenSLR 11 in a folder; download it if it is not there.

    Arguments
    ---------
    name : str
        `LM_TEXT` or `FOUR_GRAM`.
    folder : str | Path
        Where it lies, or goes.
    address : str
        Of the folder on a server.

    Returns
    -------
    Path
        The file, its checksum verified.

    Raises
    ------
    ValueError
        If its content has another checksum; the file is kept under no name of its own.
    """
    path = Path(folder) / name
    if path.is_file():
        found = _md5(path)
        if found != MD5[name]:
            raise ValueError(_mismatch(str(path), found, MD5[name]) + " Delete it.")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    source = f"{address}/{name}"
    logger.info("download: %s to %s", source, path)
    with atomic_path(path) as temporary:
        with (
            urllib.request.urlopen(source, timeout=_TIMEOUT_S) as answer,
            temporary.open("wb") as file,
        ):
            while block := answer.read(_BLOCK_BYTES):
                file.write(block)
        found = _md5(temporary)
        if found != MD5[name]:
            raise ValueError(_mismatch(source, found, MD5[name]) + " Try again later.")
    return path


def _mismatch(where: str, found: str, wanted: str) -> str:
    return f"download: {where} has MD5 {found}; expected {wanted}: it is damaged or another file."


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
