"""`tw.func` against derivatives that are known: gradients, Jacobians, vmap."""

from __future__ import annotations

import numpy as np
import pytest

import talweg as tw

X = np.array([0.5, -1.0, 2.0])


def test_gradients_of_any_order() -> None:
    x = tw.tensor(2.0, dtype=tw.float64)
    f = tw.sin
    for wanted in (np.cos, lambda v: -np.sin(v), lambda v: -np.cos(v)):
        f = tw.func.grad(f)
        assert f(x).item() == pytest.approx(wanted(2.0), rel=1e-12)
        assert not f(x).requires_grad


def test_gradients_of_nests_keep_their_form() -> None:
    p = {"w": tw.tensor([1.0, 2.0]), "b": [tw.tensor(3.0)]}
    gradient, (value, beside) = tw.func.grad_and_value(
        lambda p, x: ((p["w"] * x).sum() * p["b"][0], {"x": x}), has_aux=True
    )(p, tw.tensor([4.0, 5.0]))
    assert gradient["w"].tolist() == [12.0, 15.0]
    assert gradient["b"][0].item() == 14.0
    assert value.item() == 42.0
    assert beside["x"].tolist() == [4.0, 5.0]


def test_a_pull_back_runs_as_often_as_wanted() -> None:
    _, pull = tw.func.vjp(lambda x: x**2, tw.tensor(X))
    for v in np.eye(3):
        np.testing.assert_allclose(pull(tw.tensor(v))[0].numpy(), 2 * X * v)


def test_a_push_forward_is_the_jacobian_times_the_tangent() -> None:
    v = np.array([1.0, 2.0, 3.0])
    value, tangent = tw.func.jvp(lambda x: x.exp().cumsum(0), (tw.tensor(X),), (tw.tensor(v),))
    np.testing.assert_allclose(value.numpy(), np.exp(X).cumsum())
    np.testing.assert_allclose(tangent.numpy(), (np.exp(X) * v).cumsum())
    _, push = tw.func.linearize(lambda x: x.exp().cumsum(0), tw.tensor(X))
    np.testing.assert_allclose(push(tw.tensor(v)).numpy(), tangent.numpy())


def test_jacobians_and_hessians() -> None:
    x = tw.tensor(X)
    for jacobian in (tw.func.jacrev, tw.func.jacfwd):
        found = jacobian(lambda x: x.cumsum(0) * 2)(x)
        np.testing.assert_allclose(found.numpy(), 2 * np.tril(np.ones((3, 3))))
    found = tw.func.hessian(lambda x: x.prod())(x)
    wanted = [[0 if i == j else X.prod() / X[i] / X[j] for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-12)


def test_vmap_is_a_loop() -> None:
    x = np.random.RandomState(0).randn(4, 3, 2)
    found = tw.vmap(lambda a, b: (a @ b, a.max()), in_dims=(0, None), out_dims=(2, 0))(
        tw.tensor(x), tw.tensor(x[0].T.copy())
    )
    np.testing.assert_allclose(found[0].numpy(), np.stack([a @ x[0].T for a in x], 2))
    np.testing.assert_array_equal(found[1].numpy(), x.max((1, 2)))
    assert tw.vmap(lambda a: a.sum(), in_dims=1)(tw.zeros(3, 0)).shape == (0,)


def test_one_graph_serves_all_examples() -> None:
    x = tw.tensor(X, requires_grad=True)
    y = x**2
    rows = tw.vmap(lambda v: tw.autograd.grad(y, x, v)[0])(tw.eye(3, dtype=tw.float64))
    np.testing.assert_allclose(rows.numpy(), np.diag(2 * X))
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()


def test_gradients_of_each_example() -> None:
    layer = tw.nn.Linear(3, 1, bias=False)
    x = tw.tensor(np.random.RandomState(0).randn(5, 3).astype("float32"))

    def loss(parameters: dict[str, tw.Tensor], row: tw.Tensor) -> tw.Tensor:
        out: tw.Tensor = tw.func.functional_call(layer, parameters, (row,))
        return (out * out).sum()

    own = {k: v.detach() for k, v in layer.named_parameters()}
    found = tw.vmap(tw.func.grad(loss), in_dims=(None, 0))(own, x)["weight"]
    out = x.numpy() @ layer.weight.detach().numpy().T
    np.testing.assert_allclose(found.numpy(), (2 * out * x.numpy())[:, None], rtol=1e-5)


def test_batch_norms_lose_their_running_statistics() -> None:
    net = tw.nn.Sequential(tw.nn.BatchNorm1d(3), tw.nn.InstanceNorm1d(3, track_running_stats=True))
    assert tw.func.replace_all_batch_norm_modules_(net) is net
    assert net[0].running_mean is None
    assert not net[0].track_running_stats
    assert net[1].running_mean is not None
    assert tw.func.functionalize(tw.sin) is tw.sin
