"""`backward` and `autograd.grad`: accumulation, flags, the tape, what is an error."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import talweg as tw
from talweg.autograd import grad


def vector(*numbers: float) -> tw.Tensor:
    return tw.tensor(numbers, dtype=tw.float64, requires_grad=True)


def test_gradients_accumulate_until_they_are_cleared() -> None:
    w = vector(1.0, 2.0)
    for _ in range(3):
        (w * w).sum().backward()
    assert w.grad.tolist() == [6.0, 12.0]
    w.grad.zero_()
    (w * w).sum().backward()
    assert w.grad.tolist() == [2.0, 4.0]
    w.grad = None
    w.sum().backward()
    assert w.grad.tolist() == [1.0, 1.0]
    del w.grad
    assert w.grad is None
    w.grad = tw.tensor([10.0, 20.0], dtype=tw.float64)
    w.sum().backward()
    assert w.grad.tolist() == [11.0, 21.0]


def test_a_gradient_has_the_shape_and_dtype_of_its_tensor() -> None:
    for dtype in (tw.float16, tw.bfloat16, tw.float32, tw.float64, tw.complex64):
        w = tw.ones(2, 1, dtype=dtype, requires_grad=True)
        (w.to(tw.complex128) * tw.ones(3)).abs().sum().backward()
        assert w.grad.shape == (2, 1)
        assert w.grad.dtype is dtype
        assert w.grad.tolist() == [[3.0], [3.0]]
        assert not w.grad.requires_grad
        assert w.grad.is_leaf


@pytest.mark.parametrize("wrong", [tw.zeros(3), tw.zeros(2, dtype=tw.float32), [1.0, 2.0], 3])
def test_a_gradient_assigned_must_fit(wrong: Any) -> None:
    w = vector(1.0, 2.0)
    with pytest.raises(tw.TalwegError, match="grad"):
        w.grad = wrong
    assert w.grad is None


def test_leaves_and_flags() -> None:
    w, x = vector(1.0), tw.ones(1, dtype=tw.float64)
    y = w * x
    assert (w.is_leaf, x.is_leaf, y.is_leaf, (x + x).is_leaf) == (True, True, False, True)
    assert (w.requires_grad, x.requires_grad, y.requires_grad) == (True, False, True)
    assert w.grad_fn is None
    assert y.grad_fn is not None
    assert w.clone().grad_fn is not None
    for other in (w > 0, w.argmax(), w.int(), w.max(0).indices, w.detach(), tw.ones_like(w)):
        assert not other.requires_grad
    assert x.requires_grad_() is x
    assert x.requires_grad
    x.requires_grad = False
    assert not (x * 2).requires_grad


def test_flags_that_cannot_be_set() -> None:
    y = vector(1.0) * 2
    with pytest.raises(tw.TalwegError, match=r"only change requires_grad flags of leaf.*detach"):
        y.requires_grad = False
    y.requires_grad = True
    for make in (
        lambda: tw.tensor([1], requires_grad=True),
        lambda: tw.ones(2, dtype=tw.int32).requires_grad_(),
        lambda: tw.zeros(2, dtype=tw.bool, requires_grad=True),
    ):
        with pytest.raises(tw.TalwegError, match="floating point"):
            make()


def test_the_tape_can_be_walked() -> None:
    w, v = vector(2.0), vector(3.0)
    loss = (w * v + w).sum()
    names = []
    stack = [loss.grad_fn]
    while stack:
        step = stack.pop()
        names.append(step.name())
        stack += [f for f, _ in step.next_functions if f is not None]
    assert names[:3] == ["SumBackward0", "AddBackward0", "AccumulateGrad"]
    assert sorted(names[3:]) == ["AccumulateGrad", "AccumulateGrad", "MulBackward0"]
    product, last = (f for f, _ in loss.grad_fn.next_functions[0][0].next_functions)
    assert last.variable is w
    assert [f.variable for f, _ in product.next_functions] == [w, v]
    (only,) = (2 - w).grad_fn.next_functions
    assert only[0] is last, "one AccumulateGrad for each leaf"
    assert (w * tw.ones(1)).grad_fn.next_functions[1] == (None, 0)


def test_second_pass() -> None:
    w = vector(1.0, 2.0)
    y = w * w
    loss = y.sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert w.grad.tolist() == [4.0, 8.0]
    with pytest.raises(tw.TalwegError, match=r"second time.*retain_graph=True") as caught:
        loss.backward()
    assert "loss = y.sum()" in str(caught.value)
    with pytest.raises(tw.TalwegError, match="second time"):
        (y * 3).sum().backward()
    (w * w).sum().backward()
    assert w.grad.tolist() == [6.0, 12.0]


def test_what_backward_needs() -> None:
    w = vector(1.0, 2.0)
    with pytest.raises(tw.TalwegError, match=r"only for scalar outputs.*\(2,\)"):
        (w * w).backward()
    with pytest.raises(tw.TalwegError, match=r"shape of \(3,\) and output\[0\] .*\(2,\)"):
        (w * w).backward(tw.ones(3))
    with pytest.raises(tw.TalwegError, match="element 0 of tensors does not require grad"):
        tw.ones(1).backward()
    with pytest.raises(tw.TalwegError, match="2 outputs but 1 gradients"):
        tw.autograd.backward([w.sum(), w.sum()], [None])
    (w * w).backward(tw.tensor([1.0, 10.0]))
    assert w.grad.tolist() == [2.0, 40.0]
    (w[:1] * 2).backward()
    assert w.grad.tolist() == [4.0, 40.0]


def test_backward_from_several_and_from_a_leaf() -> None:
    w = vector(1.0, 2.0)
    tw.autograd.backward([(w * 2).sum(), w * w], [None, tw.ones(2, dtype=tw.float64)])
    assert w.grad.tolist() == [4.0, 6.0]
    one = vector(5.0)
    one.backward()
    assert one.grad.tolist() == [1.0]


def test_grad_for_leaves_and_others() -> None:
    w = tw.tensor(2.0, requires_grad=True)
    y = w * 2
    assert [g.item() for g in grad([y, y * y], [w, y])] == [18.0, 9.0]
    assert [g.item() for g in grad(w * w, [w, w])] == [4.0, 4.0]
    assert grad(w, w)[0].item() == 1.0
    assert w.grad is None
    assert y.grad is None


def test_grad_of_what_does_not_take_part() -> None:
    w, v = vector(1.0, 2.0), vector(3.0)
    with pytest.raises(tw.TalwegError, match=r"not have been used in the graph.*\(1,\)"):
        grad(w.sum(), [w, v])
    found = grad(w.sum(), [w, v], allow_unused=True)
    assert found[1] is None
    assert grad(w.sum(), v, materialize_grads=True)[0].tolist() == [0.0]
    with pytest.raises(tw.TalwegError, match="does not require grad"):
        grad(w.sum(), tw.ones(2))


def test_higher_orders() -> None:
    x = tw.tensor(2.0, dtype=tw.float64, requires_grad=True)
    y = x**5
    wanted = [5 * 2**4, 20 * 2**3, 60 * 2**2, 120 * 2, 120]
    for value in wanted:
        (y,) = grad(y, x, create_graph=True)
        assert y.item() == value


def test_a_gradient_that_is_part_of_a_loss() -> None:
    w = tw.tensor(2.0, requires_grad=True)
    (w**3).backward(create_graph=True)
    assert w.grad.requires_grad
    (w.grad * w).backward()  # 3w³ on top of 3w²
    assert w.grad.item() == 12.0 + 36.0


def test_mixed_second_derivatives() -> None:
    x, y = vector(2.0), vector(3.0)
    z = (x * x * y).sin()
    (gx,) = grad(z, x, create_graph=True)
    (gxy,) = grad(gx, y, create_graph=True)
    (gy,) = grad(z, y, create_graph=True)
    (gyx,) = grad(gy, x)
    assert gxy.item() == pytest.approx(gyx.item(), rel=1e-12)


def test_detaching() -> None:
    w = vector(1.0, 2.0)
    y = w * 2
    d = y.detach()
    assert not d.requires_grad
    assert d.is_leaf
    d.requires_grad_()
    (d * 3).sum().backward()
    assert d.grad.tolist() == [3.0, 3.0]
    assert w.grad is None
    assert y.detach_() is y
    assert y.is_leaf
    assert not y.requires_grad
    with pytest.raises(tw.TalwegError, match="detach views in-place"):
        w.view(2).detach_()


def test_integer_tensors_pass_no_gradient() -> None:
    w = vector(1.5, 2.5)
    total = (w.int().double() * w).sum()
    total.backward()
    assert w.grad.tolist() == [1.0, 2.0]


def test_an_unused_branch_with_infinities_poisons_as_in_the_mathematics() -> None:
    w = vector(0.0, 2.0)
    tw.where(w > 1, w.clamp(min=1e-9).log(), w).sum().backward()
    assert w.grad.tolist() == [1.0, 0.5]


def test_copies_of_leaves() -> None:
    w = vector(1.0, 2.0)
    w.sum().backward()
    pair = copy.deepcopy([w, w])
    assert pair[0] is pair[1]
    assert pair[0] is not w
    assert pair[0].requires_grad
    assert pair[0].grad.tolist() == [1.0, 1.0]
    with tw.no_grad():
        pair[0].add_(1)
    assert w.tolist() == [1.0, 2.0]
    with pytest.raises(tw.TalwegError, match=r"only leaf.*detach"):
        copy.deepcopy(w * 2)


def test_pickled_tensors() -> None:
    for x in (
        vector(1.0, 2.0),
        tw.tensor([1.5, 1 / 3], dtype=tw.bfloat16),
        tw.arange(6).reshape(2, 3).t(),
        tw.tensor(True),
        tw.zeros(0, 3),
        tw.tensor([1 + 2j]),
    ):
        y = pickle.loads(pickle.dumps(x))
        assert (y.shape, y.dtype, y.tolist()) == (x.shape, x.dtype, x.tolist())
        assert (y.requires_grad, y.is_leaf) == (x.requires_grad, True)


def test_complex_gradients_follow_pytorchs_convention() -> None:
    z = tw.tensor([1 + 2j], requires_grad=True)
    (z * z.conj()).real.sum().backward()
    assert z.grad.tolist() == [2 + 4j]
