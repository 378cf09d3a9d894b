"""`torch.func` beside PyTorch: gradients of nests, Jacobians, vmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer import Inputs, close, flat, torch

import talweg as tw

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr"),
]
D = Inputs(33)
X, Y, W = D.real(4), D.real(3, 4), D.real(4, 4)
SCALAR = D.real()


def loss(T: Any, parameters: dict[str, Any], x: Any, y: Any) -> Any:
    return ((x @ parameters["w"] + parameters["b"]).tanh() - y).square().sum()


def parameters_of(T: Any, w: Any, b: Any) -> dict[str, Any]:
    return {"w": w, "b": b}


CASES: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "grad": (lambda T, x: T.func.grad(lambda x: x.sin().sum())(x), (X,)),
    "grad of grad": (lambda T, x: T.func.grad(T.func.grad(lambda x: x**3))(x), (SCALAR,)),
    "third": (
        lambda T, x: T.func.grad(T.func.grad(T.func.grad(lambda x: x.exp() * x)))(x),
        (SCALAR,),
    ),
    "argnums": (
        lambda T, x, y: T.func.grad(lambda a, b, c: (a * b * c).sum(), argnums=(2, 0))(x, 2.0, y),
        (X, X),
    ),
    "grad_and_value aux": (
        lambda T, x: T.func.grad_and_value(lambda x: ((x * x).sum(), x.exp()), has_aux=True)(x),
        (X,),
    ),
    "grad of dict": (
        lambda T, w, b, x, y: list(
            T.func.grad(lambda p, x, y: loss(T, p, x, y))(parameters_of(T, w, b), x, y).values()
        ),
        (W, X, Y, Y),
    ),
    "unused": (lambda T, x, y: T.func.grad(lambda x, y: y.sum(), (0, 1))(x, y), (X, Y)),
    "vjp": (
        lambda T, x: T.func.vjp(lambda x: (x.sin(), x @ x), x)[1]((T.ones(4), T.ones(()))),
        (X,),
    ),
    "vjp two": (lambda T, x, y: T.func.vjp(lambda x, y: y @ x, x, y)[1](T.ones(3)), (X, Y)),
    "jvp": (
        lambda T, x, v: T.func.jvp(lambda x: (x.sin() * x, x.sum()), (x,), (v,)),
        (X, D.real(4)),
    ),
    "jvp aux": (
        lambda T, x, v: T.func.jvp(lambda x: (x.exp(), x), (x,), (v,), has_aux=True),
        (X, D.real(4)),
    ),
    "linearize": (
        lambda T, x, v: T.func.linearize(lambda x: x.sin(), x)[1](v),
        (X, D.real(4)),
    ),
    "jacrev": (lambda T, x, y: T.func.jacrev(lambda x, y: y * x, (0, 1))(x, y), (X, Y)),
    "jacrev two": (lambda T, x: T.func.jacrev(lambda x: (x.sin(), [x.sum()]))(x), (X,)),
    "jacfwd": (lambda T, x: T.func.jacfwd(lambda x: x.exp())(x), (X,)),
    "hessian": (lambda T, x: T.func.hessian(lambda x: (x.sin() * x).sum())(x), (X,)),
    "hessian args": (
        lambda T, x, y: T.func.hessian(lambda x, y: ((y @ x) ** 2).sum(), (0, 1))(x, y),
        (X, Y),
    ),
    "vmap": (lambda T, x, y: T.vmap(T.dot)(x, y), (Y, Y)),
    "vmap in_dims": (lambda T, x, w: T.vmap(T.mv, in_dims=(None, 1))(w, x), (Y.T.copy(), W)),
    "vmap out_dims": (lambda T, x: T.vmap(lambda v: (v * 2, v.sum()), out_dims=(1, 0))(x), (Y,)),
    "vmap negative": (lambda T, x: T.vmap(lambda v: v.cumsum(0), -1, -1)(x), (Y,)),
    "vmap of vmap": (
        lambda T, x, y: T.vmap(T.vmap(T.dot, (None, 0)), (0, None))(x, y),
        (Y, D.real(5, 4)),
    ),
    "vmap keywords": (lambda T, x, y: T.vmap(lambda a, b: a - b, in_dims=0)(x, b=y), (Y, Y)),
    "vmap nest": (
        lambda T, x, y: T.vmap(lambda p, y: p["a"] + p["b"][0] * y, ({"a": 0, "b": (None,)}, 0))(
            {"a": x, "b": (y[0],)}, y
        ),
        (Y, Y),
    ),
    "per-sample gradients": (
        lambda T, w, b, x, y: list(
            T.vmap(T.func.grad(lambda p, x, y: loss(T, p, x, y)), (None, 0, 0))(
                parameters_of(T, w, b), x, y
            ).values()
        ),
        (W, X, Y, Y),
    ),
    "vmap of jacrev": (lambda T, x: T.vmap(T.func.jacrev(lambda v: v.sin()))(x), (Y,)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_transform_equals_pytorchs(name: str) -> None:
    call, arrays = CASES[name]
    ours, theirs = (flat(call(T, *map(T.tensor, arrays))) for T in (tw, torch))
    assert len(ours) == len(theirs) > 0
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert a.requires_grad == b.requires_grad
        close(a, b, 16, f"{name} {i}")


def test_gradients_reach_what_a_function_reads_from_outside() -> None:
    found = []
    for T in (tw, torch):
        w, x = T.tensor(W, requires_grad=True), T.tensor(X)
        slope = T.func.grad(lambda x, w=w: (w @ x).sin().sum())(x)
        assert slope.requires_grad
        (slope * slope).sum().backward()
        inner = T.tensor(X, requires_grad=True)
        twice = T.func.grad(lambda x: (x**3).sum())(inner)
        twice.sum().backward()
        found.append((slope, w.grad, twice, inner.grad))
    for i, (a, b) in enumerate(zip(*found, strict=True)):
        close(a, b, 32, str(i))


def test_ensembles_of_modules() -> None:
    torch.manual_seed(0)
    theirs = [torch.nn.Linear(4, 2) for _ in range(3)]
    ours = [tw.nn.Linear(4, 2) for _ in range(3)]
    for a, b in zip(ours, theirs, strict=True):
        a.load_state_dict({k: tw.tensor(v.numpy()) for k, v in b.state_dict().items()})
    found = []
    for T, models in ((tw, ours), (torch, theirs)):
        parameters, buffers = T.func.stack_module_state(models)
        assert buffers == {}
        assert all(p.requires_grad and p.is_leaf for p in parameters.values())

        def call(parameters: Any, x: Any, T: Any = T, model: Any = models[0]) -> Any:
            return T.func.functional_call(model, parameters, (x,))

        out = T.vmap(call, in_dims=(0, None))(parameters, T.tensor(Y))
        out.sum().backward()
        found.append((out, *(p.grad for p in parameters.values())))
    for i, (a, b) in enumerate(zip(*found, strict=True)):
        close(a, b, 16, str(i))


@pytest.mark.parametrize(
    "call",
    [
        lambda T: T.func.grad(lambda x: x)(T.ones(2)),
        lambda T: T.func.grad(lambda x: x.sum(), argnums=1)(T.ones(2)),
        lambda T: T.func.grad(lambda x, y: x.sum(), argnums=(0, 0))(T.ones(2), T.ones(2)),
        lambda T: T.func.grad(lambda x: x.sum(), has_aux=True)(T.ones(2)),
        lambda T: T.vmap(lambda x: x)(1.0),
        lambda T: T.vmap(lambda x: x, in_dims=None)(T.ones(2)),
        lambda T: T.vmap(lambda x: x, in_dims=2)(T.ones(2)),
        lambda T: T.vmap(lambda x: x, in_dims=(0, 0))(T.ones(2)),
        lambda T: T.vmap(lambda x, y: x)(T.ones(2), T.ones(3)),
        lambda T: T.vmap(lambda x: 1.0)(T.ones(2)),
        lambda T: T.vmap(lambda x: T.rand(2))(T.ones(2)),
        lambda T: T.vmap(lambda x: x, randomness="some")(T.ones(2)),
        lambda T: T.func.jvp(lambda x: x, T.ones(2), (T.ones(2),)),
        lambda T: T.func.vjp(lambda x: x, T.ones(2))[1](T.ones(3)),
        lambda T: T.func.stack_module_state([]),
    ],
)
def test_errors(call: Callable[[Any], Any]) -> None:
    for library in (tw, torch):
        with pytest.raises((RuntimeError, ValueError, TypeError)):
            call(library)


def test_random_numbers_of_a_vmap() -> None:
    for T in (tw, torch):

        def draw(x: Any, T: Any = T) -> Any:
            return x + T.rand(2)

        same = T.vmap(draw, randomness="same")(T.zeros(3))
        assert bool((same == same[0]).all())
        other = T.vmap(draw, randomness="different")(T.zeros(3))
        assert not bool((other[0] == other[1]).all())


def test_dual_tensors_are_pytorchs() -> None:
    a, v = np.random.RandomState(6).randn(2, 3, 3)
    found = []
    for library in (torch, tw):
        forward = library.autograd.forward_ad
        x = library.tensor(a, requires_grad=True)
        with forward.dual_level():
            dual = forward.make_dual(x, library.tensor(v))
            value, tangent = forward.unpack_dual((dual @ dual).sin().sum(0))
            (back,) = library.autograd.grad(tangent.sum(), x)
        found.append([value.detach().numpy(), tangent.detach().numpy(), back.numpy()])
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(two, one)
