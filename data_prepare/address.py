"""Addresses of prepared data: which are taken, and what becomes of them.

A local path, `file://...`, or the address of an object store or web server. Nothing here opens
anything: whatever could start a command, chain file systems or leave its folder is refused first.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

PROTOCOLS = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "hf", "http", "https")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class RemoteAddress:
    """A folder in an object store or on a web server.

    Arguments
    ---------
    protocol : str
        One of `PROTOCOLS`.
    base : str
        "protocol://host/prefix" without a slash at the end.
    query : str
        What follows a "?", such as an access token; never shown.
    """

    protocol: str
    base: str
    query: str = ""

    def __str__(self) -> str:
        return self.base

    def join(self, name: str) -> "RemoteAddress":
        """Return the address of a folder within this one."""
        return RemoteAddress(self.protocol, f"{self.base}/{check_name(name, self)}", self.query)

    def url(self, name: str) -> str:
        """Return the full address of a file, for the file system."""
        query = f"?{self.query}" if self.query else ""
        return f"{self.base}/{check_name(name, self)}{query}"


def check_name(name: str, where: object) -> str:
    """Return a name of a file or folder, if it stays within its folder.

    Arguments
    ---------
    name : str
        From an index or summary, so from the data.
    where : object
        Named in the message.

    Returns
    -------
    str
        The name.

    Raises
    ------
    ValueError
        If it is no plain name.
    """
    if not _PLAIN_NAME.fullmatch(name):
        raise ValueError(
            f"storage {where}: {name!r} is no plain file name; expected letters, digits, '.', '_' "
            "and '-'; prepare the corpus again."
        )
    return name


def is_remote(address: object) -> bool:
    """Tell whether an address is text that names a protocol other than `file`."""
    return isinstance(address, str) and isinstance(parse_address(address), RemoteAddress)


def parse_address(address: str | Path) -> Path | RemoteAddress:
    """Return what an address means.

    Arguments
    ---------
    address : str | Path
        A local path, "file://...", or "protocol://host/prefix" with one of `PROTOCOLS`.

    Returns
    -------
    Path | RemoteAddress
        A local folder, or one elsewhere.

    Raises
    ------
    ValueError
        If it is anything else, such as a command or a chain of file systems.
    """
    text = str(address)
    scheme = _SCHEME.match(text)
    if isinstance(address, Path) and (scheme is None or address.exists()):
        return address
    if scheme is None and "|" not in text and "::" not in text and "\0" not in text:
        return Path(text)
    protocol = scheme[1].lower() if scheme else ""
    parts = urlsplit(text)
    is_known = protocol in (*PROTOCOLS, "file") and text[len(protocol) :].startswith("://")
    if not is_known or any(mark in text for mark in ("|", "::", "\0", "\n")):
        raise ValueError(
            f"address {text!r}: is not taken; expected a local path, or one of "
            f"{', '.join(f'{name}://' for name in ('file', *PROTOCOLS))} as text, without commands "
            "and chains; write a local path that holds ':' as text with './' before it."
        )
    if protocol == "file":
        return _local(text)
    faults = _faults(text)
    if faults:
        raise ValueError(f"address {parts.scheme}://{parts.hostname}...: {'; '.join(faults)}.")
    return RemoteAddress(protocol, text.partition("?")[0].rstrip("/"), parts.query)


def _local(text: str) -> Path:
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ValueError(f"address {text!r}: expected file:///folder, on this machine.")
    return Path(unquote(parts.path))


def _faults(text: str) -> list[str]:
    parts = urlsplit(text)
    faults = []
    if not parts.netloc or not parts.hostname:
        faults.append("has no host or bucket; expected protocol://host/folder")
    if "@" in parts.netloc and parts.scheme not in ("abfs", "abfss", "hf"):
        faults.append("holds a user or password; expected them in the environment or netrc")
    if ".." in unquote(parts.path).split("/"):
        faults.append("has '..' in its path; expected the folder itself")
    if parts.fragment:
        faults.append("has a '#' part; expected none")
    if parts.query and parts.scheme not in ("http", "https"):
        faults.append("has a '?' part; expected one only with http and https")
    return faults
