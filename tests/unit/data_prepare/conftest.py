"""Lets hypothesis and SpeechBrain live in one process."""

import sys

import pytest


def tame_lazy_modules() -> None:
    """Give SpeechBrain's lazy modules a `__file__`.

    Hypothesis asks every loaded module for it; a lazy module would import its target, and fails
    where that needs a package which is not installed.
    """
    importutils = sys.modules.get("speechbrain.utils.importutils")
    if importutils is not None:
        importutils.LazyModule.__file__ = None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems() -> None:
    tame_lazy_modules()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    tame_lazy_modules()
