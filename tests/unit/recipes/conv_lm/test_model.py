"""The network: sizes, causality, steps, adaptive softmax."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from recipes.LibriSpeech.LM.conv_lm.model import ConvLM
from tests.conftest import ROOT
from tests.unit.recipes.common.on_ranks import results_of_ranks
from tests.unit.recipes.conv_lm import ranks_worker
from tests.unit.recipes.conv_lm.ranks_worker import LAYERS

MODELS = ROOT / "recipes/LibriSpeech/LM/conv_lm/hparams/model"
PADDING = 1


def build(**options: object) -> ConvLM:
    torch.manual_seed(0)
    sizes = {"embedding_size": 6, "out_size": 5, "dropout": 0.2} | options
    return ConvLM(16, LAYERS, **sizes).double()


@pytest.fixture
def words() -> torch.Tensor:
    return torch.randint(2, 16, (3, 11), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "num_words", "parameters", "context"),
    [
        ("letters_14b", 40, 163_533_136, 57),
        ("letters_20b", 40, 224_158_800, 81),
        ("words_14b", 221_452, 318_547_840, 57),
    ],
)
def test_published_sizes(name, num_words, parameters, context):
    with (MODELS / f"{name}.yaml").open() as file, torch.device("meta"):
        model = load_hyperpyyaml(file, {"num_words": num_words})["model"]
    assert model.context_words == context
    in_softmax = sum(p.numel() for p in model.out.parameters())
    total = sum(p.numel() for p in model.parameters())
    if name == "words_14b":
        assert total - in_softmax == 191_344_128
        assert in_softmax == pytest.approx(127.2e6, rel=1e-3)
    else:
        assert total == parameters


def test_forward_equals_steps(words):
    model = build().eval()
    targets = words.roll(-1, 1)
    losses = model(words, targets).view(3, 11)
    state = model.initial_state(3)
    for place in range(11):
        logp, state = model.step(words[:, place], state)
        expected = -logp.gather(1, targets[:, place : place + 1])[:, 0]
        torch.testing.assert_close(losses[:, place], expected)
        torch.testing.assert_close(logp.exp().sum(1), torch.ones(3, dtype=logp.dtype))


def test_no_word_sees_its_future(words):
    model = build().eval()
    changed = words.clone()
    changed[:, 6:] = changed[:, 6:].flip(1)
    one, other = (model(w, torch.full_like(w, 3)).view(3, 11) for w in (words, changed))
    torch.testing.assert_close(one[:, :6], other[:, :6])
    assert not torch.allclose(one[:, 6:], other[:, 6:])


def test_context_is_as_long_as_told():
    model = build().eval()
    words = torch.full((2, model.context_words + 2), 5)
    words[1, 1] = 7  # the oldest word that the last but one target depends on
    losses = model(words, torch.full_like(words, 3)).view(2, -1)
    assert losses[0, model.context_words] != losses[1, model.context_words]
    assert losses[0, model.context_words + 1] == losses[1, model.context_words + 1]


def test_padding_has_no_loss(words):
    model = build().eval()
    targets = words.clone()
    targets[1, 4:] = PADDING
    assert len(model(words, targets)) == 33 - 7


def test_folded_weights_give_equal_scores(words):
    model = build().eval()
    before = model(words, words)
    count = sum(p.numel() for p in model.parameters())
    torch.testing.assert_close(model.fold()(words, words), before)
    assert sum(p.numel() for p in model.parameters()) < count


def test_adaptive_softmax_is_a_distribution(words):
    model = build(cutoffs=[6, 10], out_size=None).float().eval()
    losses = model(words, words.roll(-1, 1)).view(3, 11)
    state = model.initial_state(3)
    for place in range(4):
        logp, state = model.step(words[:, place], state)
        torch.testing.assert_close(logp.exp().sum(1), torch.ones(3))
        expected = -logp.gather(1, words[:, place + 1 : place + 2])[:, 0]
        torch.testing.assert_close(losses[:, place], expected)


def test_clusters_without_a_target_have_a_gradient_of_zeros():
    model = ranks_worker.make_model()
    grads = ranks_worker.gradients(model, 0)
    assert all(grad is not None for grad in grads.values())
    tails = [grad for name, grad in grads.items() if name.startswith("out.tail")]
    assert tails and not any(grad.any() for grad in tails)


@pytest.mark.multiproc
def test_ranks_without_rare_words_train_with_those_that_have_some(tmp_path):
    found = results_of_ranks(ranks_worker.main, tmp_path)
    alone = [ranks_worker.gradients(ranks_worker.make_model(), rank) for rank in range(2)]
    for name, grad in alone[0].items():
        for rank in range(2):
            torch.testing.assert_close(found[rank][name], (grad + alone[1][name]) / 2)


def test_shortcut_before_the_first_layer_is_refused():
    with pytest.raises(ValueError, match="reach 3"):
        ConvLM(8, [[4, 1, 0], [4, 1, 3]], embedding_size=4, out_size=4)
