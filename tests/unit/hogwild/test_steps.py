"""Steps that follow gradients in part: against the formula of quasi-hyperbolic Adam."""

from functools import partial

import pytest
import torch

from hogwild.counters import Counters
from hogwild.options import HogwildOptions
from hogwild.pushing import Pusher
from hogwild.shared import SharedModel
from tests.unit.recipes.common.toy import make_brain

RATE, BETAS, EPS = 0.1, (0.8, 0.9), 1e-8


def quasi_hyperbolic(param, gradients, *, share, decay=0.0, is_decoupled=False):
    """Return the parameter after steps as Ma and Yarats write them, with nu = (1 - share, 1)."""
    mean = torch.zeros_like(param)
    squares = torch.zeros_like(param)
    for number, given in enumerate(gradients, 1):
        if is_decoupled:
            # The two parts of a step decay one after the other.
            param = param * (1 - RATE * (1 - share) * decay)
        gradient = given if is_decoupled else given + decay * param
        mean = BETAS[0] * mean + (1 - BETAS[0]) * gradient
        squares = BETAS[1] * squares + (1 - BETAS[1]) * gradient**2
        root = (squares / (1 - BETAS[1] ** number)).sqrt() + EPS
        moved = param - RATE * (1 - share) * mean / (1 - BETAS[0] ** number) / root
        late = given if is_decoupled else given + decay * moved
        moved = moved * (1 - RATE * share * decay) if is_decoupled else moved
        param = moved - RATE * share * late / root
    return param


def make_pusher(optimizer, *, num_workers: int, share: float):
    """Return a Brain and its Pusher, alone in this process."""
    brain, _ = make_brain(optimizer=optimizer)
    brain.modules.double()
    brain.init_optimizers()
    how = HogwildOptions(
        num_workers=num_workers, gradient_share=share, moments_span="worker", staleness_power=0.0
    )
    shared = SharedModel(brain.modules, brain.optimizers_dict, how)
    pusher = Pusher(brain, shared, Counters(num_workers), worker=0, options=how)
    return brain, pusher


def take_steps(brain, num: int) -> list[torch.Tensor]:
    """Apply updates with made up gradients; return those of the first parameter."""
    param, *others = brain.modules.parameters()
    generator = torch.Generator().manual_seed(1)
    gradients = [
        torch.randn(param.shape, generator=generator, dtype=torch.float64) for _ in range(num)
    ]
    for gradient in gradients:
        for other in others:
            other.grad = None
        param.grad = gradient.clone()
        brain.apply_update(list(brain.optimizers_dict.values()))
    return gradients


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize(
    ("kind", "decay"),
    [(torch.optim.Adam, 0.0), (torch.optim.Adam, 0.2), (torch.optim.AdamW, 0.2)],
)
def test_step_is_the_quasi_hyperbolic_one(kind, decay, share):
    optimizer = partial(kind, lr=RATE, betas=BETAS, eps=EPS, weight_decay=decay)
    brain, _ = make_pusher(optimizer, num_workers=2, share=share)
    before = next(brain.modules.parameters()).detach().clone()
    gradients = take_steps(brain, 6)
    wanted = quasi_hyperbolic(
        before, gradients, share=share, decay=decay, is_decoupled=kind is torch.optim.AdamW
    )
    assert torch.allclose(next(brain.modules.parameters()), wanted, rtol=0, atol=1e-12)
    (group,) = brain.optimizer.param_groups
    assert group["lr"] == RATE


def test_largest_squares_and_a_rising_objective_are_those_of_the_optimizer():
    optimizer = partial(torch.optim.Adam, lr=RATE, betas=(0.0, 0.9), amsgrad=True, maximize=True)
    brain, _ = make_pusher(optimizer, num_workers=2, share=0.4)
    plain, _ = make_pusher(optimizer, num_workers=2, share=0.0)
    start = next(brain.modules.parameters()).detach().clone()
    with torch.no_grad():
        next(plain.modules.parameters()).copy_(start)
    take_steps(brain, 5)
    take_steps(plain, 5)
    # Without a memory of gradients both parts of a step are the same.
    ours, theirs = next(brain.modules.parameters()), next(plain.modules.parameters())
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    assert not torch.allclose(ours, start)


@pytest.mark.parametrize(
    ("optimizer", "num_workers"),
    [
        (partial(torch.optim.Adam, lr=RATE), 1),
        (partial(torch.optim.SGD, lr=RATE, momentum=0.9), 2),
    ],
    ids=["one worker", "SGD"],
)
def test_one_worker_and_other_optimizers_take_their_own_steps(optimizer, num_workers):
    ends = []
    for share in (0.0, 0.5):
        torch.manual_seed(3)
        brain, _ = make_pusher(optimizer, num_workers=num_workers, share=share)
        take_steps(brain, 4)
        ends.append(next(brain.modules.parameters()).detach().clone())
    assert torch.equal(*ends)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_share_is_within_its_range(share):
    with pytest.raises(ValueError, match=r"gradient_share is .*; expected within \[0, 1\)"):
        HogwildOptions(gradient_share=share)
