"""Comparisons whose runs lie in a folder of the test."""

import pytest

from comparing import groups as groups_module
from comparing import jobs as jobs_module


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Where runs are looked for."""
    for module in (jobs_module, groups_module):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path
