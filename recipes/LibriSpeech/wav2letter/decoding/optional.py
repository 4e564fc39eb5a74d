"""Packages that only some decoders need."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def need(module: str, package: str, *, why: str) -> Any:
    """Import a module of an optional package.

    Arguments
    ---------
    module : str
        Its dotted name.
    package : str
        What pip calls the package.
    why : str
        What it is needed for, "to ...".

    Returns
    -------
    Any
        The module.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{package}: is not installed, and needed {why}; expected the version of "
            f"requirements-extras.txt; install it: pip install {package}."
        ) from error
