"""User faults end a run plainly, other errors as they are."""

import json

import pytest

from recipes.common import divergence
from recipes.common.faults import plain_faults
from recipes.common.update import NonFiniteError


def test_user_fault_message_and_code(tmp_path, capsys):
    with pytest.raises(SystemExit) as ending, plain_faults(tmp_path):
        raise ValueError("corpus x: is empty; expected utterances; mend it.")
    shown = capsys.readouterr().err
    assert ending.value.code == 2
    assert shown.startswith("error: corpus x: is empty; expected utterances; mend it.\n")
    assert "Traceback" not in shown
    assert "Traceback" in (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert str(tmp_path / "log.txt") in shown


def test_user_fault_before_the_folder_exists(tmp_path, capsys):
    with pytest.raises(SystemExit), plain_faults(tmp_path / "absent"):
        raise FileNotFoundError("no such corpus")
    assert capsys.readouterr().err == "error: no such corpus\n"
    assert not (tmp_path / "absent").exists()


def test_other_errors_pass(tmp_path):
    with pytest.raises(RuntimeError, match="a mistake"), plain_faults(tmp_path):
        raise RuntimeError("a mistake of ours")
    assert not (tmp_path / divergence.FILE).exists()


@pytest.mark.parametrize(
    "error",
    [
        NonFiniteError("update 7: not finite"),
        FloatingPointError("hogwild: after 7 updates parameters are not finite"),
        RuntimeError("hogwild: worker 1 raised:\nrecipes.common.update.NonFiniteError: update 7"),
    ],
)
def test_divergence_passes_and_leaves_a_note(tmp_path, error):
    with pytest.raises(type(error)), plain_faults(tmp_path):
        raise error
    note = json.loads((tmp_path / divergence.FILE).read_text(encoding="utf-8"))
    assert note["error"] == str(error)
