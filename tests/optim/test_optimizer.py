"""What all optimizers share: groups, closures, hooks, errors, state and its saving."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import DTypeError, IndexOutOfRange, InvalidValue
from talweg.nn.state import load, save

EVERY: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("ASGD", {"t0": 2}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("Adamax", {}),
    ("NAdam", {}),
    ("RAdam", {"betas": (0.9, 0.5)}),
    ("Adagrad", {"lr_decay": 0.1}),
    ("Adadelta", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Rprop", {}),
    ("LBFGS", {"max_iter": 2, "history_size": 3, "line_search_fn": "strong_wolfe"}),
]
X = tw.tensor(np.random.default_rng(3).normal(size=(9, 3)), dtype=tw.float32)


def parameters() -> list[tw.Tensor]:
    return [tw.tensor([0.5, -1.0, 2.0], requires_grad=True), tw.tensor(0.3, requires_grad=True)]


def train(params: list[tw.Tensor], optimizer: Any, steps: int) -> list[float]:
    losses = []

    def closure() -> tw.Tensor:
        optimizer.zero_grad()
        w, c = params
        loss = ((X * w).sum(1).tanh() * c - 1).square().sum()
        loss.backward()
        return loss

    for _ in range(steps):
        losses.append(float(optimizer.step(closure)))
    return losses


def made(name: str, params: list[tw.Tensor], options: dict[str, Any]) -> Any:
    return getattr(tw.optim, name)(params, **options)


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_a_saved_state_goes_on_to_the_same_bits(
    name: str, options: dict[str, Any], tmp_path: Any
) -> None:
    params = parameters()
    optimizer = made(name, params, options)
    assert train(params, optimizer, 4)[-1] < train(parameters(), made(name, parameters(), {}), 1)[0]
    save({"optimizer": optimizer.state_dict(), "params": params}, tmp_path / "state.safetensors")
    expected = train(params, optimizer, 4), [p.tolist() for p in params]

    saved = load(tmp_path / "state.safetensors")
    again = [tw.tensor(p.numpy(), requires_grad=True) for p in saved["params"]]
    resumed = made(name, again, {})
    resumed.load_state_dict(saved["optimizer"])
    assert (train(again, resumed, 4), [p.tolist() for p in again]) == expected


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_a_pickled_optimizer_goes_on_to_the_same_bits(name: str, options: dict[str, Any]) -> None:
    params = parameters()
    optimizer = made(name, params, options)
    train(params, optimizer, 3)
    twin = pickle.loads(pickle.dumps(optimizer))
    again = twin.param_groups[0]["params"]
    assert train(again, twin, 3) == train(params, optimizer, 3)


def test_the_layout_of_state_dict() -> None:
    a, b, c = (tw.ones(2, requires_grad=True) for _ in range(3))
    optimizer = tw.optim.Adam([{"params": [a, b]}, {"params": c, "lr": 0.5}], lr=0.1)
    for p in (a, c):
        p.sum().backward()
    optimizer.step()
    saved = optimizer.state_dict()
    assert set(saved) == {"state", "param_groups"}
    assert set(saved["state"]) == {0, 2}
    assert list(saved["state"][0]) == ["step", "exp_avg", "exp_avg_sq"]
    assert saved["state"][0]["step"] == 1
    assert [g["params"] for g in saved["param_groups"]] == [[0, 1], [2]]
    assert [g["lr"] for g in saved["param_groups"]] == [0.1, 0.5]


def test_loaded_tensors_are_copies_in_the_dtype_of_the_parameter() -> None:
    p = tw.ones(2, dtype=tw.float64, requires_grad=True)
    given = tw.tensor([3.0, 4.0])
    optimizer = tw.optim.Adam([p])
    saved = optimizer.state_dict()
    saved["state"] = {
        0: {"step": tw.tensor(7.0), "exp_avg": given, "exp_avg_sq": np.array([1.0, 2.0])}
    }
    optimizer.load_state_dict(saved)
    p.sum().backward()
    optimizer.step()
    assert optimizer.state[p]["step"] == 8
    assert optimizer.state[p]["exp_avg"].dtype is tw.float64
    assert optimizer.state[p]["exp_avg_sq"].dtype is tw.float64
    np.testing.assert_allclose(optimizer.state[p]["exp_avg"].numpy(), [2.8, 3.7])
    assert given.tolist() == [3.0, 4.0]


def test_states_that_do_not_fit_are_refused() -> None:
    one = tw.optim.SGD([tw.ones(1, requires_grad=True)])
    two = tw.optim.SGD([tw.ones(1, requires_grad=True), tw.ones(1, requires_grad=True)])
    groups = tw.optim.SGD([{"params": [tw.ones(1)]}, {"params": [tw.ones(1)]}])
    with pytest.raises(ValueError, match=r"doesn't match the size.*2 parameters there, 1 here"):
        one.load_state_dict(two.state_dict())
    with pytest.raises(ValueError, match="different number of parameter groups: 2"):
        one.load_state_dict(groups.state_dict())


def test_groups_have_their_own_options_and_names() -> None:
    a, b = tw.ones(1, requires_grad=True), tw.ones(1, requires_grad=True)
    optimizer = tw.optim.SGD([("a", a)], lr=0.1)
    optimizer.add_param_group({"params": [("b", b)], "lr": 0.5, "weight_decay": 1.0})
    (a + b).sum().backward()
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item()], [0.9, 0.0], rtol=1e-6)
    assert [g["param_names"] for g in optimizer.state_dict()["param_groups"]] == [["a"], ["b"]]
    assert "Parameter Group 1\n" in repr(optimizer)
    assert "    weight_decay: 1.0\n" in repr(optimizer)


def test_parameters_without_gradient_rest() -> None:
    a, b = tw.ones(1, requires_grad=True), tw.ones(1, requires_grad=True)
    optimizer = tw.optim.SGD([a, b], lr=0.1, weight_decay=1.0)
    a.sum().backward()
    optimizer.step()
    assert b.item() == 1.0
    assert a.item() != 1.0


def test_zero_grad() -> None:
    p = tw.ones(2, requires_grad=True)
    optimizer = tw.optim.SGD([p])
    p.sum().backward()
    held = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is held
    assert held.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert p.grad is None


def test_the_closure_runs_with_gradients_and_its_loss_is_returned() -> None:
    p = tw.ones(1, requires_grad=True)
    optimizer = tw.optim.SGD([p], lr=0.25)

    def closure() -> tw.Tensor:
        assert tw.is_grad_enabled()
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tw.no_grad():
        assert optimizer.step(closure).item() == 1.0
    assert p.item() == 0.5


def test_the_parameter_stays_the_same_leaf_and_aliases_see_the_step() -> None:
    p = tw.ones(2, requires_grad=True)
    view, before = p.detach(), p._version
    optimizer = tw.optim.SGD([p], lr=1.0)
    p.sum().backward()
    optimizer.step()
    assert optimizer.param_groups[0]["params"][0] is p
    assert p.is_leaf
    assert p.requires_grad
    assert p._version == before + 1
    assert view.tolist() == [0.0, 0.0]


def test_a_changed_rate_takes_effect_and_may_be_a_tensor() -> None:
    p = tw.ones(1, requires_grad=True)
    optimizer = tw.optim.SGD([p], lr=tw.tensor(0.5))
    p.sum().backward()
    optimizer.step()
    assert p.item() == 0.5
    optimizer.param_groups[0]["lr"] = 0.25
    optimizer.step()
    assert p.item() == 0.25


def test_hooks_run_around_the_step_until_removed() -> None:
    p = tw.ones(1, requires_grad=True)
    optimizer = tw.optim.SGD([p], lr=1.0)
    p.sum().backward()
    seen: list[float] = []
    handles = [
        optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(p.item())),
        optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(p.item())),
    ]
    optimizer.step()
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert seen == [1.0, 0.0]


def test_a_failing_step_changes_nothing() -> None:
    w = tw.tensor([1.0, 2.0, 3.0], requires_grad=True)
    optimizer = tw.optim.Adam([w], lr=0.1)

    def step(index: list[int]) -> None:
        optimizer.zero_grad()
        w[tw.tensor(index)].sum().backward()
        optimizer.step()

    step([0, 1])
    held = w.tolist(), optimizer.state[w]["exp_avg"].tolist()
    with pytest.raises(IndexOutOfRange, match="7 is out of range"):
        step([0, 7])
    assert (w.tolist(), optimizer.state[w]["exp_avg"].tolist()) == held
    assert optimizer.state[w]["step"] == 1
    step([0, 1])
    np.testing.assert_allclose(w.detach().numpy(), [0.8, 1.8, 3.0], rtol=1e-5)


def test_a_metric_that_cannot_be_computed_stops_no_later_step() -> None:
    w = tw.tensor([1.0, 2.0, 3.0], requires_grad=True)
    optimizer = tw.optim.SGD([w], lr=0.5)
    total, good = tw.zeros(()), tw.zeros(())
    for index, fails in (([0, 1], False), ([0, 7], True), ([0, 1], False)):
        optimizer.zero_grad()
        loss = w[tw.tensor(index)].sum()
        total, good = total + loss.detach(), good + 1
        loss.backward()
        if fails:
            with pytest.raises(IndexOutOfRange):
                optimizer.step()
        else:
            optimizer.step()
    assert w.tolist() == [0.0, 1.0, 3.0]
    assert good.item() == 3.0
    with pytest.raises(IndexOutOfRange, match="loss = w"):
        total.item()


def test_a_closure_that_fails_changes_nothing() -> None:
    params = parameters()
    optimizer = made("LBFGS", params, {"max_iter": 4})
    train(params, optimizer, 1)
    held = [p.tolist() for p in params], len(optimizer.state[params[0]]["old_dirs"])
    calls = iter(range(3))

    def closure() -> tw.Tensor:
        if next(calls) == 2:
            raise KeyboardInterrupt
        optimizer.zero_grad()
        loss = ((X * params[0]).sum(1) * params[1]).square().sum()
        loss.backward()
        return loss

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    assert ([p.tolist() for p in params], len(optimizer.state[params[0]]["old_dirs"])) == held


def test_a_deep_copy_is_independent() -> None:
    params = parameters()
    optimizer = made("Adam", params, {"lr": 0.1})
    train(params, optimizer, 2)
    twin = copy.deepcopy(optimizer)
    held = [p.tolist() for p in twin.param_groups[0]["params"]]
    train(params, optimizer, 1)
    assert [p.tolist() for p in twin.param_groups[0]["params"]] == held
    assert list(twin.state) == twin.param_groups[0]["params"]


def leaf() -> tw.Tensor:
    return tw.ones(2, requires_grad=True)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tw.optim.SGD([]), InvalidValue, "empty parameter list"),
        (lambda: tw.optim.SGD([{"params": []}]), InvalidValue, "empty parameter list"),
        (lambda: tw.optim.SGD(leaf()), TypeError, "iterable of Tensors or dicts"),
        (lambda: tw.optim.SGD([leaf(), 3.0]), TypeError, "one of the params is float"),
        (lambda: tw.optim.SGD([{"params": {leaf()}}]), TypeError, "ordered collections"),
        (lambda: tw.optim.SGD([{"lr": 1.0}]), InvalidValue, "'params'"),
        (lambda: tw.optim.SGD([leaf() * 2]), InvalidValue, "non-leaf.*MulBackward0"),
        (lambda: tw.optim.SGD([("w", leaf()), leaf()]), InvalidValue, "without names"),
        (lambda: tw.optim.SGD([leaf()], lr=-1), InvalidValue, "learning rate: -1"),
        (lambda: tw.optim.SGD([leaf()], lr=float("nan")), InvalidValue, "learning rate: nan"),
        (lambda: tw.optim.SGD([leaf()], momentum=-0.5), InvalidValue, "momentum value: -0.5"),
        (lambda: tw.optim.SGD([leaf()], nesterov=True), InvalidValue, "requires a momentum"),
        (lambda: tw.optim.Adam([leaf()], betas=(0.9, 1.0)), InvalidValue, "at index 1: 1.0"),
        (lambda: tw.optim.Adam([leaf()], eps=-1e-8), InvalidValue, "epsilon value: -1e-08"),
        (lambda: tw.optim.Adam([leaf()], differentiable=True), InvalidValue, "not recorded"),
        (lambda: tw.optim.Adadelta([leaf()], rho=2), InvalidValue, "rho value: 2"),
        (lambda: tw.optim.Rprop([leaf()], etas=(1.1, 1.2)), InvalidValue, "eta values: 1.1"),
        (lambda: tw.optim.LBFGS([leaf()], line_search_fn="x"), InvalidValue, "strong_wolfe"),
        (lambda: tw.optim.LBFGS([leaf()]).step(), InvalidValue, "closure"),
        (lambda: tw.optim.Adam([tw.ones(1, dtype=tw.complex64)]), DTypeError, "complex64"),
        (lambda: tw.optim.Optimizer([leaf()], {}).add_param_group(3), TypeError, "a dict"),
    ],
)
def test_mistakes_are_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_parameter_belongs_to_one_group_and_should_be_listed_once() -> None:
    p = leaf()
    optimizer = tw.optim.SGD([p])
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimizer.add_param_group({"params": p})
    with pytest.warns(UserWarning, match="duplicate parameters"):
        tw.optim.SGD([p, p])
    with pytest.raises(ValueError, match="single group"):
        tw.optim.LBFGS([{"params": p}, {"params": leaf()}])


def test_a_missing_required_option_is_named() -> None:
    defaults = {"lr": tw.optim.optimizer.required}
    with pytest.raises(ValueError, match="required optimization parameter lr"):
        tw.optim.Optimizer([leaf()], defaults)


def test_an_optimizer_may_replace_step() -> None:
    class Sign(tw.optim.Optimizer):
        def step(self, closure: Any = None) -> None:
            with tw.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p.add_(p.grad.sign(), alpha=-group["lr"])

    p = leaf()
    (p * tw.tensor([2.0, -3.0])).sum().backward()
    Sign([p], {"lr": 0.5}).step()
    assert p.tolist() == [0.5, 1.5]


def test_the_first_step_runs_the_program_of_the_later_ones() -> None:
    # By hand, so that gradients are zeros of either sign too.
    g = np.array([1.5, -0.0, 0.0, -2.0] * 2048, np.float32)
    w = tw.tensor(np.zeros_like(g), requires_grad=True)
    optimizer = tw.optim.SGD([w], lr=0.5, momentum=0.9, dampening=0.25)
    for n in range(3):
        optimizer.zero_grad()
        (w * tw.tensor(g)).sum().backward()
        optimizer.step()
        if n == 0:
            velocity = optimizer.state[w]["momentum_buffer"].numpy()
            assert (velocity.view(np.int32) == g.view(np.int32)).all()
            tw.reset_counters()
    assert tw.counters().plans == tw.counters().compiled == 0
