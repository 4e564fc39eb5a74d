"""Faults of command line and YAML: all told at once, with key and file."""

import pytest

from recipes.common.hparams import load_run
from tests.unit.recipes.common.yamls import MAIN, faults, write_yamls


@pytest.fixture
def folder(tmp_path):
    return write_yamls(tmp_path)


def test_unknown_keys_are_told_with_the_nearest_name(folder):
    told = faults(
        folder, "--sed", "1", "--model.rnn_layer", "3", "--inner.dept", "1", "--precison", "bf16"
    )
    for part in (
        "did you mean seed?",
        "did you mean rnn_layers?",
        "did you mean depth?",
        "did you mean precision?",
    ):
        assert part in told
    assert "6 faults" not in told
    assert "5 faults" in told  # the placeholder is the fifth


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (("--seed", "1.5"), "is 1.5; expected an int, like the default 7"),
        (("--seed", "True"), "expected an int"),
        (("--seed", "[1]"), "expected an int"),
        (("--seed", "(1, 2)"), "expected an int"),
        (("--seed", "null"), "is null"),
        (("--rate", "fast"), "is 'fast'; expected a number"),
        (("--is_fast", "yes"), "is 'yes'; expected True or False"),
        (("--sizes", "3"), "expected a list like [1, 2]"),
        (("--shape", "3"), "expected a tuple"),
        (("--layer", "3"), "give --layer.<key> value"),
        (("--inner", "3"), "a group of keys"),
        (("--name",), "has no value"),
        (("--model.rnn_layers", "3.5"), "expected an int"),
        (("--sizes", "[1, 2"), "is no valid YAML"),
        (("--optimizer_step_limit", "soon"), "expected an int or null"),
        (("--precision", "[fp32"), "is no valid YAML"),
        (("--precision", "fp64"), "expected one of 'fp32'"),
        (("--seed", "1", "--seed", "2"), "--seed: given twice"),
        (("stray",), "argument 'stray'"),
    ],
)
def test_wrong_values_are_refused(folder, argv, part):
    assert part in faults(folder, "--data_folder", "/x", *argv)


def test_all_faults_of_a_yaml_are_told_at_once(folder):
    (folder / "main.yaml").write_text(
        MAIN.replace("folder: !ref", "foldr: !ref")
        + "log: 1\nshuffle: no\nnothing: None\nquoted: 'no'\nmax_updates: many\nprecision: fp8\n"
        + "gone: !new:torch.nn.Nothing\nwrong: !new:torch.nn.Linear\n    in_feature: 1\n"
        + "lacks: !new:torch.nn.Linear\n    in_features: 1\n"
        + "typed: !name:recipes.common.early_stopping.EarlyStopping\n    patience: 1.5\n"
    )
    told = faults(folder, "--sed", "1", "--rate", "x")
    for part in (
        "--sed: is no key",
        "--rate: is 'x'",
        "corpus.foldr: is no key of a.yaml; did you mean folder?",
        "data_folder: is a !PLACEHOLDER",
        "corpus.folder: is a !PLACEHOLDER",
        "log: abbreviates SpeechBrain's option log_config",
        "shuffle: is the string 'no'; write False",
        "nothing: is the string 'None'; write null",
        "max_updates: is 'many'; expected an int or null",
        "precision: is 'fp8'",
        "gone: !new:torch.nn.Nothing does not exist",
        "wrong: torch.nn.Linear takes no 'in_feature'; expected (in_features, out_features",
        "lacks: torch.nn.Linear: missing a required argument: 'out_features'",
        "typed: patience is 1.5; expected an int",
    ):
        assert part in told
    assert "quoted" not in told
    assert "14 faults" in told


def test_missing_include_and_bad_reference_are_faults(folder):
    (folder / "main.yaml").write_text("x: !include:none.yaml {}\n")
    assert "x: " in faults(folder)
    (folder / "main.yaml").write_text("x: !ref <b>\n")
    assert 'reference "b" is not valid' in faults(folder)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: 1\na: 2\n", "duplicate key"),
        ("a: [1\n", "is no valid YAML"),
        ("- 1\n", "expected a mapping"),
        ("<<: !include:model.yaml {}\n", "merges an include"),
        ("a:\n    __base__: model.yaml\n", "expected in run files only"),
    ],
)
def test_broken_yaml_is_told_with_its_file(folder, text, part):
    (folder / "main.yaml").write_text(text)
    told = faults(folder)
    assert part in told
    assert "main.yaml" in told


def test_missing_yaml_is_told(folder):
    assert "cannot be read" in faults(folder, file="none.yaml")
    with pytest.raises(ValueError, match="names no YAML file"):
        load_run(["--debug"])


def test_construction_error_names_the_key_and_the_cause(folder):
    (folder / "main.yaml").write_text("x:\n    b:\n        - !new:torch.nn.Linear [-1, 2]\n")
    with pytest.raises(
        ValueError, match=r"x\.b\[0\] \(!new:torch\.nn\.Linear\): RuntimeError"
    ) as caught:
        load_run([str(folder / "main.yaml")])
    assert isinstance(caught.value.__cause__, RuntimeError)
