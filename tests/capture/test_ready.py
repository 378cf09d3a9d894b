"""What depends on state alone is computed once, and again exactly when the state has changed."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np
import pytest

import talweg as tw
from talweg import nn, optim
from talweg.capture import ready
from talweg.engine import building, evaluate, stored
from tests.capture.replaying import assert_same, data
from tests.checked import unchecked


class Factored(nn.Module):
    """A layer whose weight is a product of two, with a batch norm behind it."""

    def __init__(self, size: int = 48) -> None:
        super().__init__()
        self.left = nn.Parameter(data(size, 24, seed=1) * 0.3)
        self.right = nn.Parameter(data(24, size, seed=2) * 0.3)
        self.scale = nn.Parameter(data(size, 1, seed=3))
        self.norm = nn.BatchNorm1d(size)

    def forward(self, x: tw.Tensor) -> tw.Tensor:
        weight = (self.left @ self.right) * tw.exp(self.scale)
        return self.norm(nn.functional.linear(x, weight))


def kept(compiled: Any, variant: int = -1) -> Any:
    """What a compiled Module keeps, or None."""
    captured = compiled.compiled._events[variant][3]
    found = captured.recipe.ready
    return None if found is None else found.keeper


def check(compiled: Any, net: Any, x: tw.Tensor) -> None:
    """Compare two calls with the run of the Module, bit by bit."""
    with tw.no_grad():
        for _ in range(2):
            assert_same(compiled(x), net(x), exactly=True)


def evaluated(seed: int = 0) -> tuple[nn.Module, Any, tw.Tensor]:
    net = Factored().eval()
    compiled, x = tw.compile(net), data(5, 48, seed=seed)
    check(compiled, net, x)
    assert kept(compiled) is not None
    return net, compiled, x


def launched(call: Callable[[], Any]) -> int:
    with tw.profile() as prof:
        call()
    return sum(k.count for k in prof.key_averages())


def in_place(net: Any) -> None:
    net.left.mul_(1.5)


def a_part(net: Any) -> None:
    net.scale[3:5] = 2.0


def a_view(net: Any) -> None:
    net.right.view(-1)[7].fill_(4.0)


def by_data(net: Any) -> None:
    net.left.data = data(48, 24, seed=9)


def into_data(net: Any) -> None:
    net.left.data.copy_(data(48, 24, seed=9))


def statistics(net: Any) -> None:
    net.norm.running_mean.add_(0.5)
    net.norm.running_var.mul_(3.0)


def state_dict(net: Any) -> None:
    other = Factored()
    other.load_state_dict({k: v * 0.5 + 1 for k, v in net.state_dict().items()})
    net.load_state_dict(other.state_dict())


def parameter(net: Any) -> None:
    net.left = nn.Parameter(data(48, 24, seed=11))


def train_mode(net: Any) -> None:
    net.train()(data(6, 48, seed=12))
    net.eval()


CHANGES = (
    *(in_place, a_part, a_view, by_data, into_data, statistics, state_dict, parameter),
    train_mode,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_changed_state_is_seen(change: Callable[[Any], None]) -> None:
    net, compiled, x = evaluated()
    with tw.no_grad():
        before = compiled(x).numpy()
        for _ in range(3):
            change(net)
            check(compiled, net, x)
        assert not np.array_equal(compiled(x).numpy(), before)


def test_arrays_are_not_shared_with_what_is_kept() -> None:
    net, compiled, x = evaluated()
    array = np.full((48, 24), 0.25, np.float32)
    with tw.no_grad():
        net.left.data = tw.from_numpy(array)
        check(compiled, net, x)
        array[:] = 7
        check(compiled, net, x)
        np.asarray(net.left.detach())[:] = 9
        net.left.detach().numpy()[:] = 9
        check(compiled, net, x)


def steps_of(net: Any, rate: float) -> Any:
    """A compiled training step."""
    optimizer = optim.SGD(net.parameters(), lr=rate)

    @tw.compile
    def step(x: tw.Tensor) -> None:
        optimizer.zero_grad()
        (net(x) ** 2).mean().backward()
        optimizer.step()

    return step


@pytest.mark.parametrize("wrap", [lambda f: f, tw.compile], ids=["recorded", "compiled"])
def test_steps_of_an_optimizer_in_between(wrap: Any) -> None:
    net, compiled, x = evaluated()
    optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

    def step(x: tw.Tensor) -> tw.Tensor:
        optimizer.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    train = wrap(step)
    for i in range(5):
        train(data(7, 48, seed=20 + i))
        train(data(7, 48, seed=30 + i))
        check(compiled, net, x)


@unchecked
def test_steps_still_write_in_place() -> None:
    net, compiled, x = evaluated()
    step = steps_of(net, 0.05)

    for _ in range(4):
        step(x)
        check(compiled, net, x)
    memory = ref(net.right._storage.node.value)
    assert net.right._storage.node.value.stamp > 0
    step(x)
    assert net.right._storage.node.value is memory()
    assert net.right._storage.node.value.stamp == 0
    check(compiled, net, x)


def test_functions_that_change_state_keep_nothing() -> None:
    net = Factored().train()
    compiled = tw.compile(net)
    with tw.no_grad():
        for i in range(3):
            compiled(data(5, 48, seed=i))
    assert kept(compiled) is None
    net.eval()
    compiled(data(5, 48))  # on the tape
    assert kept(compiled) is None


def test_little_is_not_kept() -> None:
    net = nn.BatchNorm1d(4).eval()
    compiled = tw.compile(net)
    check(compiled, net, data(3, 4))
    assert kept(compiled) is None


def test_results_that_are_kept_have_memory_of_their_own() -> None:
    weight = data(64, 64)

    @tw.compile
    def f(x: tw.Tensor) -> tuple[tw.Tensor, tw.Tensor]:
        double = tw.exp(weight) * 2
        return double, x @ double

    x = data(3, 64, seed=1)
    for _ in range(3):
        double, product = f(x)
        assert_same((double, product), f.function(x))
        double.zero_()
        product.zero_()


class Convolved(nn.Module):
    """Convolutions whose kernels are copied by every item, for all items, and by rows."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(256, 256, 3, padding=1)
        self.norm = nn.BatchNorm2d(256)
        self.narrow = nn.Conv2d(256, 40, 1, stride=2)
        self.last = nn.Conv2d(40, 32, 3, groups=2)
        for seed, parameter in enumerate(self.parameters()):
            parameter.data = data(*parameter.shape, seed=seed) * 0.1

    def forward(self, x: tw.Tensor) -> tw.Tensor:
        return self.last(self.narrow(tw.relu(self.norm(self.wide(x)))))


def copies(compiled: Any) -> Any:
    """The launches of a compiled Module that leave out their first stage."""
    return compiled.compiled._events[-1][3].recipe.program.copied


def kernels(net: Any) -> None:
    net.wide.weight.mul_(1.5)
    net.narrow.weight[3:5] = 2.0


def other_kernels(net: Any) -> None:
    other = Convolved()
    other.load_state_dict({k: v * 0.5 + 1 for k, v in net.state_dict().items()})
    net.load_state_dict(other.state_dict())


def step_of_an_optimizer(net: Any) -> None:
    optimizer = optim.SGD(net.parameters(), lr=0.01)
    with tw.enable_grad():
        net(data(1, 256, 7, 7, seed=5)).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("change", [kernels, other_kernels, step_of_an_optimizer])
def test_kernels_of_convolutions_are_copied_when_they_change(change: Callable[[Any], None]) -> None:
    net = Convolved().eval()
    compiled, x = tw.compile(net), data(1, 256, 7, 7)
    check(compiled, net, x)
    assert {k.kernel.signature.stages for k in copies(compiled)} == {2}
    assert sum(t.nbytes for t in kept(compiled).types) >= net.wide.weight.nbytes
    with tw.no_grad():
        for _ in range(3):
            before, values = compiled(x).numpy(), kept(compiled).kept
            compiled(x)
            assert kept(compiled).kept is values
            change(net)
            check(compiled, net, x)
            assert kept(compiled).kept is not values
            assert not np.array_equal(compiled(x).numpy(), before)


def test_copies_are_shared_by_batches_of_other_sizes() -> None:
    net = Convolved().eval()
    compiled = tw.compile(net)
    wide = set()
    for batch in (2, 4, 5):
        check(compiled, net, data(batch, 256, 7, 7, seed=batch))
        found = kept(compiled)
        wide |= {
            id(part)
            for (part, _), type in zip(found.parts, found.types, strict=False)
            if type.nbytes >= net.wide.weight.nbytes
        }
    assert len(wide) == 1


def test_a_weight_has_few_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = map(str, range(100))
    made = building.made_before

    def every(*given: Any) -> Any:
        found = made(*given)
        return found and found._replace(key=next(keys))

    monkeypatch.setattr(building, "made_before", every)
    monkeypatch.setattr(stored, "find", lambda *_: None)
    net = nn.Conv2d(64, 64, 3).eval()
    compiled = tw.compile(net)
    counts = []
    for batch in (1, 2, 3, 4):
        check(compiled, net, data(batch, 64, 7, 7, seed=batch))
        counts.append(len(copies(compiled)))
    assert counts == [1, 1, 0, 0]


def test_copies_of_values_that_are_kept() -> None:
    weight, scale = data(256, 256, 3, 3) * 0.1, data(256, 1, 1, 1, seed=1)

    @tw.compile
    def f(x: tw.Tensor) -> tw.Tensor:
        return nn.functional.conv2d(x, weight * tw.exp(scale), padding=1)

    x = data(2, 256, 7, 7)
    for _ in range(3):
        for _ in range(2):
            assert_same(f(x), f.function(x), exactly=True)
        scale.mul_(2)
    captured = f._events[-1][3].recipe
    assert [step.copied.input for step in captured.program.copied] == [2]
    assert [len(at) for _, at in captured.ready.keeper.parts] == [2, 2]


def test_no_copies_that_would_be_much_larger_than_the_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ready, "GROWTH", 0.5)
    net = Convolved().eval()
    compiled, x = tw.compile(net), data(1, 256, 7, 7)
    check(compiled, net, x)
    assert not copies(compiled)


def test_copies_are_kept_for_the_next_process(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Convolved().eval()
    one, other, x = tw.compile(net), tw.compile(net), data(1, 256, 7, 7)
    check(one, net, x)
    monkeypatch.setattr(evaluate, "_PROGRAMS", OrderedDict())
    check(other, net, x)
    same = [step.copied for step in copies(one)]
    assert same == [step.copied for step in copies(other)]
    assert kept(one).types == kept(other).types


def test_what_is_kept_is_not_computed_again() -> None:
    net, compiled, x = evaluated()
    with tw.no_grad():
        fewer = launched(lambda: compiled(x))
        assert fewer == compiled.compiled.reports[-1].launches
        assert fewer < launched(lambda: net(x).numpy())
        values = kept(compiled).kept
        compiled(x)
        assert kept(compiled).kept is values
        net.left.mul_(2)
        compiled(x)
        assert kept(compiled).kept is not values


def test_compiled_functions_share_what_they_keep() -> None:
    net, one, x = evaluated()
    other = tw.compile(net)
    check(other, net, data(9, 48))
    shared = {id(part) for part, _ in kept(one).parts} & {id(part) for part, _ in kept(other).parts}
    assert shared
    with tw.no_grad():
        net.scale.add_(1)
    for compiled in (one, other, one):
        check(compiled, net, x)


def test_nothing_is_kept_when_nobody_needs_it() -> None:
    gc.collect()
    before = len(ready._PARTS)
    net, compiled, x = evaluated()
    assert len(ready._PARTS) > before
    del net, compiled, x
    gc.collect()
    assert len(ready._PARTS) == before


def test_threads() -> None:
    net, compiled, x = evaluated()
    step = steps_of(net, 0.01)

    train = data(6, 48, seed=3)
    for _ in range(3):
        step(train)
    check(compiled, net, x)
    with tw.no_grad():
        expected = net(x).numpy()
    wrong: list[Any] = []
    done = threading.Event()

    def infer() -> None:
        with tw.no_grad():
            while not done.is_set():
                found = compiled(x).numpy()
                if found.shape != expected.shape:
                    wrong.append(found)

    def agree() -> None:
        with tw.no_grad():
            for _ in range(50):
                if not np.array_equal(compiled(x).numpy(), expected):
                    wrong.append("another value")

    threads = [threading.Thread(target=agree) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    threads = [threading.Thread(target=infer) for _ in range(2)]
    for t in threads:
        t.start()
    for _ in range(100):
        step(train)
    done.set()
    for t in threads:
        t.join()
    assert not wrong
    check(compiled, net, x)
