"""The command that compares precisions: its help, and what it says to wrong options."""

import pytest

import compare_precision
from comparing.protocol import Protocol

SMALL = "recipes/TriggerWord/Detection/conv_gru/hparams/small.yaml"


def said_to(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code, and all that was printed."""
    with pytest.raises(SystemExit) as end:
        compare_precision.main(argv)
    return int(end.value.code or 0), "".join(capsys.readouterr())


def test_help_tells_all_options(capsys):
    code, said = said_to(["--help"], capsys)
    assert code == 0
    options = {f"--{name}" for name in Protocol.__dataclass_fields__}
    missing = [name for name in {*options, "--arms", "--delay_ms", "--output"} if name not in said]
    assert not missing


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--arms", "fp32", "fp8"], "invalid choice: 'fp8'"),
        (["--arms", "fp32"], "1 given; expected two or more"),
        (["--arms", "fp32", "fp16", "--device", "cpu"], "fp16 need a CUDA device, this is cpu"),
        (["--arms", "tf32", "bf16", "--device", "cpu"], "tf32 need a CUDA device, this is cpu"),
        (["--units", "0"], "units is 0; expected >= 1"),
        (["--updates", "5"], "updates is 5; expected >= 75"),
        (["--no_such_key", "5"], "no_such_key"),
    ],
)
def test_wrong_options_are_told_and_end_with_two(options, told, capsys, tmp_path):
    code, said = said_to([SMALL, *options, "--output", str(tmp_path)], capsys)
    assert code == 2
    assert told in said
    assert "Traceback" not in said


def test_missing_run_file_is_told(capsys, tmp_path):
    code, said = said_to(["hparams/absent.yaml", "--output", str(tmp_path)], capsys)
    assert code == 2
    assert "hparams/absent.yaml" in said
