"""Training steps: replays do what the steps do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import talweg as tw
from talweg import nn, optim
from talweg.base.errors import IndexOutOfRange
from tests.capture.replaying import assert_same, data, lenet, mlp, normalized, replays
from tests.checked import unchecked

F = nn.functional


class Run(NamedTuple):
    """What a training loop left: losses, parameters and buffers, gradients, state, generator."""

    losses: list[float]
    tensors: list[Any]
    gradients: list[Any]
    state: Any
    generator: Any


def train(
    net: Callable[[], nn.Module],
    make: Callable[[Any], Any],
    wrap: Callable[[Any], Any],
    steps: int = 6,
    clip: bool = False,
    late: bool = False,
    gamma: float = 1.0,
) -> Run:
    tw.manual_seed(1)
    model = net()
    optimizer = make(model.parameters())
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, gamma)
    width = 64 if net is lenet else 6

    def step(x: tw.Tensor, y: tw.Tensor) -> tw.Tensor:
        if not late:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()
        if late:
            optimizer.zero_grad()
        return loss

    step = wrap(step)
    losses = []
    for i in range(steps):
        y = tw.tensor(np.random.default_rng(i).integers(0, 3, 5))
        losses.append(step(data(5, width, seed=i), y).item())
        schedule.step()
    return Run(
        losses,
        [*model.parameters(), *model.buffers()],
        [None if p.grad is None else p.grad for p in model.parameters()],
        [list(s.items()) for s in optimizer.state.values()] + [optimizer._step_count],
        tw.get_rng_state().tolist(),
    )


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, 0.01, weight_decay=0.01),
    "amsgrad": lambda p: optim.Adam(p, 0.01, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, 0.01),
    "rmsprop": lambda p: optim.RMSprop(p, 0.01),
    "adagrad": lambda p: optim.Adagrad(p, 0.05, lr_decay=0.1),
    "nadam": lambda p: optim.NAdam(p, 0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("late", [False, True])
def test_training_steps_of_every_optimizer(name: str, late: bool) -> None:
    made: list[Any] = []

    def wrap(step: Any) -> Any:
        made.append(tw.compile(step))
        return made[-1]

    options: dict[str, Any] = {"late": late, "gamma": 0.9}
    expected = train(mlp, OPTIMIZERS[name], lambda f: f, **options)
    assert_same(train(mlp, OPTIMIZERS[name], wrap, **options), expected, exactly=True)
    assert replays(made[0]) >= 3, made[0].explain()
    assert made[0].reason is None


@pytest.mark.parametrize("net", [normalized, lenet])
@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_training_steps_with_statistics_dropout_and_clipping(
    net: Callable[[], nn.Module], name: str
) -> None:
    expected = train(net, OPTIMIZERS[name], lambda f: f, clip=True, gamma=0.8)
    assert_same(
        train(net, OPTIMIZERS[name], tw.compile, clip=True, gamma=0.8), expected, exactly=True
    )


def test_numbers_of_the_optimizer_are_data() -> None:
    w = data(4, grad=True)
    optimizer = optim.AdamW([w], lr=0.1)

    @tw.compile
    def step(x: tw.Tensor) -> None:
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    for i in range(8):
        optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
        step(data(4, seed=i))
    assert optimizer.state[w]["step"] == 8
    assert optimizer._step_count == 8
    assert [r.reason for r in step.reports].count(None) == 1, step.explain()
    assert replays(step) == 6


def test_a_number_by_which_python_decides_makes_another_capture() -> None:
    w = data(4, grad=True)
    optimizer = optim.SGD([w], lr=0.1, momentum=0.5)
    optimizer.param_groups[0]["weight_decay"] = 0.0

    @tw.compile
    def step(x: tw.Tensor) -> None:
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    x = data(4)
    for _ in range(3):
        step(x)
    optimizer.param_groups[0]["weight_decay"] = 0.5
    before, velocity = w.detach().clone(), optimizer.state[w]["momentum_buffer"].clone()
    step(x)
    velocity = velocity * 0.5 + x + 0.5 * before
    assert_same(w.detach(), before - velocity * 0.1)
    assert "weight_decay" in step.reports[-1].cause


@unchecked
def test_parameters_keep_their_memory() -> None:
    w = data(64, grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    @tw.compile
    def step(x: tw.Tensor) -> None:
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    def place() -> int:
        address: int = w._storage.node.value.address
        return address

    x = data(64)
    for _ in range(4):
        step(x)
    before = place()
    step(x)
    assert place() == before
    kept = w.detach()
    copied = (kept * 1).numpy()
    step(x)
    assert (kept.numpy() != copied).all(), "detach() shares the storage"
    view = w.data
    step(x)
    assert_same(view, kept)
    del view
    step(x)
    before = place()
    held = w._storage.node  # whoever holds the value itself keeps it
    values = held.array.copy()
    step(x)
    assert place() != before
    assert (held.array == values).all()


@unchecked
def test_state_and_gradients_keep_their_memory_unless_somebody_looks() -> None:
    w = data(64, 3, grad=True)
    optimizer = optim.SGD([w], lr=0.1, momentum=0.9)

    @tw.compile
    def step(x: tw.Tensor) -> None:
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    def places() -> list[int]:
        tensors = w, w.grad, optimizer.state[w]["momentum_buffer"]
        return [t._storage.node.value.address for t in tensors]

    for i in range(5):
        step(data(64, 3, seed=i))
    before = places()
    step(data(64, 3))
    assert places() == before
    looked = [t.detach().numpy() for t in (w, w.grad, optimizer.state[w]["momentum_buffer"])]
    copies = [a.copy() for a in looked]
    held = w.grad
    step(data(64, 3, seed=9))
    for array, copied in zip(looked, copies, strict=True):
        np.testing.assert_array_equal(array, copied)
    assert held is not w.grad
    np.testing.assert_array_equal(held.numpy(), copies[1])
    np.testing.assert_array_equal(w.grad.numpy(), data(64, 3, seed=9).numpy())


def test_equal_values_share_memory_only_while_they_are_equal() -> None:
    a, b = data(64, 40), data(64, 40)

    @tw.compile
    def both(x: tw.Tensor) -> None:
        a.copy_(x * 2)
        b.copy_(x * 2)

    @tw.compile
    def one() -> None:
        a.add_(1)

    for i in range(5):
        x = data(64, 40, seed=i)
        both(x)
        one()
        assert_same([a, b], [x * 2 + 1, x * 2], exactly=True)
    assert replays(both) == replays(one) == 4


def test_a_replay_needs_no_more_memory_than_the_step() -> None:
    arenas = []
    for wrap in (lambda f: f, tw.compile):
        net = nn.Sequential(*(nn.Linear(48, 48) for _ in range(8)))
        optimizer = optim.SGD(net.parameters(), 0.1)

        @wrap
        def step(x: tw.Tensor, net: Any = net, optimizer: Any = optimizer) -> None:
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()

        x = data(256, 48)
        for _ in range(3):
            step(x)
        programs = [e.program for e in tw.explain(step, x).evaluations]
        arenas.append(max(p.outline.arena for p in programs if p is not None))
    assert arenas[1] <= arenas[0]


def test_an_error_in_a_step_leaves_everything_as_it_was() -> None:
    table = nn.Embedding(5, 3)
    optimizer = optim.Adam(table.parameters(), 0.1)

    def step(i: tw.Tensor) -> tw.Tensor:
        optimizer.zero_grad()
        loss = table(i).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled = tw.compile(step)
    good, bad = tw.tensor([1, 2]), tw.tensor([1, 7])
    for _ in range(4):
        compiled(good)
    before = table.weight.detach().numpy(), optimizer.state[table.weight]["step"]
    with pytest.raises(IndexOutOfRange, match=r"table\(i\)"):
        compiled(bad)
    assert (table.weight.detach().numpy() == before[0]).all()
    assert optimizer.state[table.weight]["step"] == before[1]
    compiled(good)
    assert replays(compiled) == 3

    fresh = tw.compile(step)
    with pytest.raises(IndexOutOfRange, match=r"table\(i\)"):
        fresh(bad)
    assert optimizer.state[table.weight]["step"] == before[1] + 1
