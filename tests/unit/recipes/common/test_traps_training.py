"""Traps of SpeechBrain 1.1.2 in training: 1, 2, 3, 7, 8, 13, 14, 16, 17, and default arguments."""

import ast
import inspect

import pytest
import speechbrain as sb
import torch
from ruamel.yaml.comments import CommentedMap
from speechbrain.utils import distributed as sb_distributed
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.run_opts import RunOptions
from torch import nn

from recipes.common.command_line import colliding_options, parse
from recipes.common.distributed import distributed_session, world_size
from recipes.common.wrapping import wrap_distributed
from recipes.common.yaml_tree import read_source
from tests.unit.recipes.common.toy import make_batches, make_brain
from tests.unit.recipes.common.traps import ROOT, mended, sources, stock_brain, vector

YAMLS = sorted((ROOT / "hparams").rglob("*.yaml")) + sorted((ROOT / "recipes").rglob("*.yaml"))


def moved(bound):
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    before = vector(net)
    stock_brain(net, max_grad_norm=bound).fit_batch(torch.ones(4, 3))
    return vector(net) - before


def test_trap_1_negative_bound_reverses_gradients_upstream():
    cosine = torch.cosine_similarity(moved(1e9), moved(-1.0), dim=0)
    assert cosine.item() == pytest.approx(-1.0), mended(1, "options.norm_limit")
    assert moved(0.0).abs().sum() == 0, mended(1, "options.norm_limit")


def test_trap_1_our_brain_refuses_the_bound():
    with pytest.raises(ValueError, match="expected a number > 0; write null to disable"):
        make_brain(run_opts={"max_grad_norm": -1.0})


def test_trap_2_only_the_first_group_is_clipped_upstream():
    net = nn.Linear(3, 2)
    before = vector(net)
    options = {"remove_vector_weight_decay": True, "max_grad_norm": 0.001}
    stock_brain(net, **options).fit_batch(100 * torch.ones(4, 3))
    assert (vector(net) - before).norm() > 1.0, mended(2, "update.scale_gradients")


def test_trap_2_our_brain_clips_all_groups():
    options = {"remove_vector_weight_decay": True, "max_grad_norm": 0.001}
    brain, _ = make_brain(run_opts=options, optimizer=lambda p: torch.optim.SGD(p, lr=1.0))
    brain.init_optimizers()
    assert len(brain.optimizer.param_groups) == 2
    before = vector(brain.modules)
    brain.step = 1
    brain.fit_batch(make_batches([4])[0])
    assert (vector(brain.modules) - before).norm().item() == pytest.approx(0.001, rel=1e-3)


class FakeWrapper(nn.Module):
    """Stands for DistributedDataParallel."""

    def __init__(self, module, **options):
        super().__init__()
        self.module = module


def test_trap_3_batch_norm_is_converted_on_cpu_and_fails_upstream(monkeypatch):
    monkeypatch.setattr("speechbrain.core.DDP", FakeWrapper)
    brain = stock_brain(nn.BatchNorm1d(3), distributed_backend="gloo")
    brain.distributed_launch = True
    brain._wrap_distributed()
    converted = brain.modules.net.module
    assert isinstance(converted, nn.SyncBatchNorm), mended(3, "wrapping.wrap_distributed")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    with pytest.raises(ValueError, match="SyncBatchNorm expected input tensor to be on"):
        converted(torch.ones(4, 3))


def test_trap_3_our_brain_keeps_batch_norm_on_cpu(monkeypatch):
    monkeypatch.setattr("recipes.common.wrapping.DistributedDataParallel", FakeWrapper)
    monkeypatch.setattr("recipes.common.wrapping.is_distributed_initialized", lambda: True)
    brain, _ = make_brain(norm=True)
    wrap_distributed(brain)
    assert type(brain.modules.net.module.norm) is nn.BatchNorm1d
    assert brain.raw_modules.net is brain.modules.net.module


def test_trap_7_wrapping_leaves_hparams_and_raw_modules_behind_upstream(monkeypatch):
    monkeypatch.setattr("speechbrain.core.DDP", FakeWrapper)
    net = nn.Linear(3, 2)
    brain = stock_brain(net, distributed_backend="gloo")
    brain.distributed_launch = True
    brain._wrap_distributed()
    assert brain.modules.net is not net
    assert brain.raw_modules is brain.modules, mended(7, "brain.StampedeBrain.raw_modules")


def module_names() -> set[str]:
    """Return the keys of every ``modules:`` mapping in the project's YAMLs."""
    names: set[str] = set()
    for path in YAMLS:
        modules = read_source(path).tree.get("modules")
        names |= set(modules) if isinstance(modules, CommentedMap) else set()
    return names


def hparams_modules(tree: ast.Module, names: set[str]) -> list[str]:
    """Return the uses of ``self.hparams.<module>`` in a file."""
    return [
        f"line {node.lineno}: self.hparams.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in names
        and ast.unparse(node.value) == "self.hparams"
    ]


def test_trap_7_lint_finds_a_module_used_through_hparams():
    tree = ast.parse("x = self.hparams.encoder(feats) + self.modules.encoder(self.hparams.lr)")
    assert hparams_modules(tree, {"encoder"}) == ["line 1: self.hparams.encoder"]


def test_trap_7_recipes_use_modules_only_through_the_wrappers():
    names = module_names()
    assert names
    for path, tree in sources("recipes"):
        assert hparams_modules(tree, names) == [], f"{path}: use self.modules"


def test_trap_8_nothing_compares_the_ranks_epochs_upstream():
    source = inspect.getsource(sb.Brain._fit_train) + inspect.getsource(sb.Brain.fit_batch)
    assert "all_reduce" not in source, mended(8, "update.sum_group")
    # Our fix: see `test_unequal_numbers_of_batches_end_both_ranks` in test_ranks


def test_trap_13_limit_from_the_command_line_is_a_string_upstream():
    argv = ["file.yaml", "--optimizer_step_limit", "100"]
    limit = RunOptions.from_command_line_args(argv)[1].optimizer_step_limit
    assert isinstance(limit, str), mended(13, "command_line and options.update_limit")
    assert parse(argv).run_options == {"optimizer_step_limit": 100}
    with pytest.raises(ValueError, match="'100'; expected an int"):
        make_brain(run_opts={"optimizer_step_limit": limit})


def test_trap_14_abbreviations_are_taken_upstream():
    _, options, overrides = RunOptions.from_command_line_args(["f.yaml", "--log", "x"])
    assert (options.log_config, overrides) == ("x", ""), mended(14, "command_line.parse")
    _, options, _ = RunOptions.from_command_line_args(["f.yaml", "--prec", "bf16"])
    assert "precision" not in options.overridden_args, mended(14, "command_line.parse")


def test_trap_14_our_command_line_takes_names_as_they_are():
    line = parse(["f.yaml", "--log", "x", "--prec", "bf16"])
    assert line.run_options == {}
    assert sorted(line.overrides) == ["log", "prec"]


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.name)
def test_trap_14_no_yaml_key_abbreviates_an_option(path):
    tree = read_source(path).tree
    assert [key for key in tree if colliding_options(str(key))] == []


def test_trap_16_nothing_leaves_the_group_upstream():
    source = inspect.getsource(sb_distributed) + inspect.getsource(sb.core)
    assert "destroy_process_group" not in source, mended(16, "distributed.distributed_session")


@pytest.mark.parametrize("error", [None, KeyError])
def test_trap_16_our_session_always_leaves_the_group(monkeypatch, tmp_path, error):
    start = {"init_method": f"file://{tmp_path / 'meet'}", "world_size": 1}
    init = torch.distributed.init_process_group
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda **o: init(**o, **start))
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    try:
        with distributed_session(RunOptions()):
            assert torch.distributed.is_initialized()
            assert world_size() == 1
            if error is not None:
                raise error
    except KeyError:
        pass
    assert not torch.distributed.is_initialized()


def test_trap_17_random_state_is_not_saved_upstream(tmp_path):
    checkpointer = Checkpointer(tmp_path)
    sb.Brain({"net": nn.Linear(1, 1)}, run_opts={"device": "cpu"}, checkpointer=checkpointer)
    assert set(checkpointer.recoverables) == {"brain"}, mended(17, "rng.RngStates")
    # Our fix: see `test_resume_after_a_kill_is_bit_exact_with_dropout` in test_runs


def test_trap_17_a_loader_draws_from_the_global_stream_upstream():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    iter(torch.utils.data.DataLoader([1, 2]))
    assert not torch.equal(torch.get_rng_state(), before), mended(17, "rng.preserved_rng")


def test_default_arguments_are_shared_between_calls_upstream():
    brain = stock_brain(nn.Linear(3, 2))
    brain.evaluate([torch.ones(1, 3)], progressbar=False)
    shared = inspect.signature(sb.Brain.evaluate).parameters["test_loader_kwargs"].default
    assert shared == {"ckpt_prefix": None}, "upstream mended evaluate: our override can go"
    shared.clear()
