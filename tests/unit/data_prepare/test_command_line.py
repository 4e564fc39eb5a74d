import inspect
import subprocess
import sys

import pytest

from data_prepare.bizspeech import prepare_bizspeech
from data_prepare.command_line import make_parser, run_command
from data_prepare.librispeech import prepare_librispeech
from data_prepare.manifest import prepare_manifest
from data_prepare.spgispeech import prepare_spgispeech

PREPARERS = (prepare_bizspeech, prepare_librispeech, prepare_spgispeech, prepare_manifest)


@pytest.mark.parametrize("function", PREPARERS)
def test_parser_no_flags_gives_the_functions_defaults(function):
    parsed = vars(make_parser(function).parse_args(["raw", "out"]))
    expected = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not parameter.empty
    }
    assert {name: parsed[name] for name in expected} == expected


@pytest.mark.parametrize("function", PREPARERS)
def test_parser_every_flag_has_help(function):
    for action in make_parser(function)._actions:
        assert action.help, action.dest
        assert not action.help.startswith("(default"), action.dest


def test_parser_flags_of_each_kind_are_read():
    words = (
        "raw out --hours_wanted 80 --seed 7 --no-progress --ceo_only --sorting ascending "
        "--num_shards train=3 valid=1 --exclude_files a.json b.json --split_by utterance"
    )
    parsed = make_parser(prepare_bizspeech).parse_args(words.split())
    assert (parsed.data_folder, parsed.out_folder) == ("raw", "out")
    assert (parsed.hours_wanted, parsed.seed, parsed.progress) == (80.0, 7, False)
    assert (parsed.ceo_only, parsed.sorting, parsed.split_by) == (True, "ascending", "utterance")
    assert parsed.num_shards == {"train": 3, "valid": 1}
    assert parsed.exclude_files == ["a.json", "b.json"]


@pytest.mark.parametrize("words", [["raw"], ["raw", "out", "--sorting", "up"], ["raw", "o", "-x"]])
def test_parser_wrong_words_exit_with_2(words):
    with pytest.raises(SystemExit) as caught:
        make_parser(prepare_bizspeech).parse_args(words)
    assert caught.value.code == 2


def test_parser_mapping_without_equals_sign_exits(capsys):
    with pytest.raises(SystemExit):
        make_parser(prepare_bizspeech).parse_args(["raw", "out", "--num_shards", "3"])
    assert "'3' is not KEY=VALUE" in capsys.readouterr().err


def test_run_command_bad_input_is_a_message_not_a_traceback(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run_command(prepare_bizspeech, [str(tmp_path / "none"), str(tmp_path / "out")])
    assert caught.value.code == 2
    assert f"no folder {tmp_path / 'none'}" in capsys.readouterr().err


@pytest.mark.multiproc
@pytest.mark.parametrize("name", ["bizspeech", "spgispeech", "librispeech", "manifest"])
def test_module_help_works(name, repo_root):
    command = [sys.executable, "-m", f"data_prepare.{name}", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=repo_root)
    assert "--max_rejected_share" in result.stdout
    assert f"data_prepare.{name}" in result.stdout
