"""The figures that the README computes from the published logs, computed again."""

import re

import pytest

from tests.conftest import ROOT

README = ROOT / "recipes/TriggerWord/Detection/conv_gru/README.md"


def cells() -> dict[str, list[list[str]]]:
    """Rows of the README's table of the published cells, by trial."""
    rows = re.findall(r"^\| (\d) \|(.+)\|$", README.read_text("utf-8"), re.MULTILINE)
    return {trial: [cell.strip() for cell in rest.split("|")] for trial, rest in rows}


@pytest.mark.parametrize(("trial", "ratio"), [("1", 1.169), ("2", 1.174), ("3", 1.027)])
def test_ratios_follow_from_the_published_seconds(trial, ratio):
    _, _, mixed, single, told, *_ = cells()[trial]
    mixed_s, single_s = (float(cell.split("/")[1]) for cell in (mixed, single))
    assert mixed_s / single_s == pytest.approx(ratio, abs=5e-4)
    assert float(told) == ratio


def test_updates_follow_from_clips_and_batches():
    for trial in "123":
        _, batch, *_, updates = cells()[trial]
        assert int(updates) == 10 * -(-70 // int(batch))
