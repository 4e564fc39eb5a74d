"""Command line and YAML together: every row of the table of attempts."""

import pickle

import pytest
import yaml

from recipes.common.hparams import load_run
from tests.unit.recipes.common.yamls import MAIN, faults, run, write_yamls


@pytest.fixture
def folder(tmp_path):
    return write_yamls(tmp_path)


def test_placeholder_given_on_the_command_line_reaches_the_include(folder):
    hparams = run(folder).hparams
    assert hparams["corpus"]["place"] == "/x/a"
    assert hparams["path"] == "/x/run"
    assert hparams["shape"] == (1, 2)


@pytest.mark.parametrize("spelling", ["corpus/b.yaml", "!include:corpus/b.yaml"])
def test_include_is_switched_and_keeps_what_the_new_file_knows(folder, spelling):
    text = (
        (folder / "main.yaml")
        .read_text()
        .replace("<data_folder>\nmodel", "<data_folder>\n    hours: 3\nmodel")
    )
    (folder / "main.yaml").write_text(text)
    assert run(folder).hparams["corpus"]["hours"] == 3
    hparams = run(folder, "--corpus", spelling).hparams
    assert hparams["corpus"] == {"folder": "/x", "kind": "b", "place": "/x/b"}


def test_include_path_may_be_relative_to_the_current_folder(folder, monkeypatch):
    monkeypatch.chdir(folder / "corpus")
    assert run(folder, "--corpus", "b.yaml").hparams["corpus"]["kind"] == "b"


def test_include_switch_to_a_missing_file_names_where_it_looked(folder):
    assert "no file 'corpus/c.yaml'" in faults(folder, "--corpus", "corpus/c.yaml")


@pytest.mark.parametrize(
    "argv",
    [
        ("--corpus", "{kind: c}"),
        ("--corpus.kind", "c"),
        ("--corpus.kind=c",),
        ("--corpus", "corpus/b.yaml", "--corpus.kind", "c"),
        ("--corpus.kind", "c", "--corpus", "corpus/b.yaml"),
    ],
)
def test_nested_key_of_an_include_is_changed_and_references_follow(folder, argv):
    assert run(folder, *argv).hparams["corpus"]["place"] == "/x/c"


def test_nested_keys_are_merged_and_bare_includes_take_them(folder):
    argv = ("--model.rnn_layers", "3", "--model.parts.width", "5", "--inner.depth", "9")
    made = run(folder, *argv)
    assert made.hparams["model"]["net"].weight.shape == (3, 5)
    assert made.hparams["inner"]["depth"] == 9
    assert made.overrides["model.rnn_layers"] == 3
    assert made.overrides["model.parts.width"] == 5


DATA = """
held: !new:types.SimpleNamespace
    options: {lr: 1.0, sizes: [1]}
    depth: 2
"""


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        (("--held.options", '{new: "a, b", last: null}'), {"new": "a, b", "last": None}),
        (("--held", '{options: {"x": {"y": ["c: d", 2]}}}'), {"x": {"y": ["c: d", 2]}}),
        (("--held.options", "{}"), {}),
        (("--held.options.lr", "2"), {"lr": 2.0, "sizes": [1]}),
    ],
)
def test_mapping_that_an_object_takes_is_replaced_whole(folder, argv, options):
    (folder / "main.yaml").write_text(MAIN + DATA)
    held = run(folder, *argv).hparams["held"]
    assert (held.options, held.depth) == (options, 2)


def test_data_may_not_become_another_thing(folder):
    (folder / "main.yaml").write_text(MAIN + DATA)
    assert "a group of keys" in faults(folder, "--held.options", "3")
    assert "is no key" in faults(folder, "--held", "{depht: 3}")
    told = faults(folder, "--held.options.beta", "3")
    assert "expected one of lr, sizes. A new key is given with all others: --held.opt" in told


@pytest.mark.parametrize(
    ("argv", "key", "value"),
    [
        (("--rate", "1"), "rate", 1.0),
        (("--rate", "1e-4"), "rate", 1e-4),
        (("--rate", "-2.5"), "rate", -2.5),
        (("--is_fast",), "is_fast", True),
        (("--is_fast", "True"), "is_fast", True),
        (("--limit", "4"), "limit", 4),
        (("--limit", "null"), "limit", None),
        (("--sizes", "[3, 4]"), "sizes", [3, 4]),
        (("--shape", "(3, 4)"), "shape", (3, 4)),
        (("--name", "a=b"), "name", "a=b"),
        (("--name=a=b",), "name", "a=b"),
        (("--name", "https://x.y/z?a=b&c=d"), "name", "https://x.y/z?a=b&c=d"),
        (("--name", "a: b"), "name", "a: b"),
        (("--name", "a # b"), "name", "a # b"),
        (("--name", "123"), "name", "123"),
        (("--name", "007"), "name", "007"),
        (("--name", "'[1]'"), "name", "[1]"),
        (("--name", "2024-01-01"), "name", "2024-01-01"),
        (("--name", "@x *y"), "name", "@x *y"),
    ],
)
def test_values_arrive_whole_and_typed(folder, argv, key, value):
    found = run(folder, *argv).hparams[key]
    assert found == value
    assert type(found) is type(value)


def test_null_is_allowed_where_the_comment_says_so(folder):
    text = (folder / "main.yaml").read_text().replace("!ref <steps>", "2")
    (folder / "main.yaml").write_text(text)
    assert run(folder, "--steps", "null").hparams["steps"] is None


def test_run_options_work_as_options_and_as_keys(folder):
    (folder / "main.yaml").write_text(
        MAIN + "precision: bf16\nmax_grad_norm: 2.0\ntest_only: False\n"
    )
    made = run(folder, "--debug", "--test_only", "True", "--max_grad_norm", "null", "--device=cpu")
    opts = made.run_opts
    assert (opts.precision, opts.debug, opts.test_only) == ("bf16", True, True)
    assert (opts.max_grad_norm, opts.device) == (None, "cpu")
    assert made.hparams["test_only"] is True
    # The Brain takes the others from the YAML's keys, which hold the command line's values.
    assert opts.overridden_args == {"debug", "device"}
    assert "test_only: true" in made.resolved_text


def test_run_options_are_typed(folder):
    opts = run(folder, "--optimizer_step_limit", "100", "--ckpt_interval_minutes", "0.5").run_opts
    assert (opts.optimizer_step_limit, opts.ckpt_interval_minutes) == (100, 0.5)
    assert run(folder, "--compile_module_keys", "a", "b").run_opts.compile_module_keys == ["a", "b"]
    assert run(folder, "--log_config", "1.yaml").run_opts.log_config == "1.yaml"


def test_flag_before_the_file_takes_no_value_from_it(folder):
    opts = load_run(["--debug", str(folder / "main.yaml"), "--data_folder", "/x"]).run_opts
    assert opts.debug


def test_abbreviations_are_refused(folder):
    assert "--prec: is no key" in faults(folder, "--prec", "bf16")


def test_resolved_text_loads_by_itself_to_the_same(folder):
    made = run(folder, "--corpus", "corpus/b.yaml", "--model.rnn_layers", "2")
    (folder / "elsewhere").mkdir()
    copy = folder / "elsewhere" / "hyperparams.yaml"
    copy.write_text(made.resolved_text)
    again = load_run([str(copy)])
    assert again.hparams["corpus"] == made.hparams["corpus"]
    assert again.hparams["model"]["net"].weight.shape == (2, 8)


def test_spaces_and_signs_in_the_folder_do_no_harm(folder):
    odd = folder / "my runs, #1 [new]"
    folder.rename(folder.with_name("moved"))
    odd = folder.with_name("moved").rename(folder.with_name(odd.name))
    assert run(odd, "--corpus", "corpus/b.yaml").hparams["corpus"]["kind"] == "b"


def test_help_and_dry_run_print_and_end(folder, capsys):
    for flag, parts in (
        ("--help", ("--seed 7", "of everything", "--inner.depth 2", "--precision", "usage:")),
        ("--dry_run", ("place: /x/a", "in_features: 10")),
    ):
        with pytest.raises(SystemExit) as caught:
            run(folder, flag)
        assert caught.value.code == 0
        shown = capsys.readouterr().out
        assert all(part in shown for part in parts)
    assert yaml.safe_load(
        shown.replace("!new:torch.nn.Linear", "").replace("!name:torch.nn.ReLU", "")
    )


def test_run_is_built_again_elsewhere_whatever_has_become_of_its_files(folder):
    options = ("--corpus", "corpus/b.yaml", "--steps", "5", "--max_grad_norm", "1e-3")
    made = run(folder, *options, "--device", "cpu")
    sent = pickle.dumps(made.without_objects())
    for path in folder.rglob("*.yaml"):
        path.write_text("seed: 8\n")
    again = pickle.loads(sent).with_objects()
    assert again.hparams.keys() == made.hparams.keys()
    assert again.hparams["corpus"] == made.hparams["corpus"]
    assert (again.hparams["seed"], again.hparams["layer"].in_features) == (7, 5)
    assert again.run_opts == made.run_opts
