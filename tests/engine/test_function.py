"""User-defined steps of the tape: `autograd.Function`."""
# mypy: ignore-errors

from __future__ import annotations

import pytest

import talweg as tw
from talweg.autograd import Function, gradcheck, gradgradcheck, once_differentiable


class Power(Function):
    @staticmethod
    def forward(ctx, x, n):
        ctx.save_for_backward(x)
        ctx.n = n
        return x**n

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.n * x ** (ctx.n - 1), None


class Square(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return g * 2 * ctx.saved_tensors[0]


class Triple(Function):
    """Triples its argument in place."""

    @staticmethod
    def forward(ctx, x):
        x.mul_(3)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 3


class Two(Function):
    """Twice and three times its argument; `seen` gets the cotangents."""

    materialize = True
    seen: list = []  # noqa: RUF012

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(Two.materialize)
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, g, h):
        Two.seen.append((None if g is None else g.tolist(), None if h is None else h.tolist()))
        return (0 if g is None else g * 2) + (0 if h is None else h * 3)


def vector(*numbers):
    return tw.tensor(numbers, dtype=tw.float64, requires_grad=True)


def test_derivatives_of_three_orders():
    x = vector(1.0, 2.0)
    (first,) = tw.autograd.grad(Power.apply(x, 4).sum(), x, create_graph=True)
    (second,) = tw.autograd.grad(first.sum(), x, create_graph=True)
    (third,) = tw.autograd.grad(second.sum(), x)
    assert first.tolist() == [4.0, 32.0]
    assert second.tolist() == [12.0, 48.0]
    assert third.tolist() == [24.0, 48.0]
    assert gradcheck(lambda x: Power.apply(x, 3), x)
    assert gradgradcheck(lambda x: Power.apply(x, 3), x)


def test_steps_carry_the_functions_name():
    y = Power.apply(vector(1.0), 2)
    assert y.grad_fn.name() == "PowerBackward"
    assert type(y.grad_fn).__name__ == "PowerBackward"
    assert [type(f).__name__ for f, _ in y.grad_fn.next_functions] == ["AccumulateGrad"]


def test_needs_input_grad_tells_which_gradients_are_wanted():
    seen = []

    class Sum(Function):
        @staticmethod
        def forward(ctx, x, k, y):
            seen.append(ctx.needs_input_grad)
            return x * k + y

        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.needs_input_grad)
            return g * 3, None, None

    x = vector(1.0, 2.0)
    Sum.apply(x, 3, tw.ones(2)).sum().backward()
    assert seen == [(True, False, False)] * 2
    assert x.grad.tolist() == [3.0, 3.0]


def test_forward_is_not_recorded_and_backward_only_on_request():
    modes = []

    class Watch(Function):
        @staticmethod
        def forward(ctx, x):
            modes.append(tw.is_grad_enabled())
            return x * 2

        @staticmethod
        def backward(ctx, g):
            modes.append(tw.is_grad_enabled())
            return g * 2

    x = vector(1.0)
    Watch.apply(x).backward()
    tw.autograd.grad(Watch.apply(x), x, create_graph=True)
    with tw.no_grad():
        assert not Watch.apply(x).requires_grad
    assert modes == [False, False, False, True, False]


def test_the_wrong_number_of_gradients():
    class Few(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g

    class Many(Few):
        @staticmethod
        def backward(ctx, g):
            return g, g, g

    class Spare(Few):
        @staticmethod
        def backward(ctx, g):
            return g, g * 2, None, None

    x = vector(1.0)
    with pytest.raises(tw.TalwegError, match="FewBackward returned 1 gradients, expected 2") as e:
        Few.apply(x, x).backward()
    assert "Few.apply(x, x).backward()" in str(e.value)
    with pytest.raises(tw.TalwegError, match="ManyBackward returned 3 gradients, expected 2"):
        Many.apply(x, x).backward()
    Spare.apply(x, x).backward()
    assert x.grad.tolist() == [3.0]


def test_gradients_of_the_wrong_shape_and_of_another_dtype():
    class Wide(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return tw.ones(3)

    with pytest.raises(tw.TalwegError, match=r"index 0 - got shape \(3,\) but expected \(2,\)"):
        Wide.apply(vector(1.0, 2.0)).sum().backward()

    class Double(Wide):
        @staticmethod
        def forward(ctx, x):
            return x.double() * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = tw.ones(2, requires_grad=True)
    Double.apply(x).sum().backward()
    assert x.grad.dtype is tw.float32
    assert x.grad.tolist() == [2.0, 2.0]


def test_a_saved_value_that_was_overwritten():
    y = vector(1.0, 2.0) * 1
    z = Square.apply(y)
    y.add_(1)
    with pytest.raises(tw.TalwegError, match=r"modified by an inplace operation.*version 1"):
        z.sum().backward()


def test_a_saved_result():
    class Exp(Function):
        @staticmethod
        def forward(ctx, x):
            result = x.exp()
            ctx.save_for_backward(result)
            return result

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    x = vector(0.0, 0.0)
    (g,) = tw.autograd.grad(Exp.apply(x).sum(), x, create_graph=True)
    g.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_a_second_pass_needs_the_graph_retained():
    x = vector(3.0)
    y = Square.apply(x)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [12.0]
    with pytest.raises(tw.TalwegError, match=r"SquareBackward were freed.*retain_graph=True"):
        y.backward()


def test_an_argument_changed_in_place():
    x = vector(1.0, 2.0)
    y = x * 2
    v = y.view(2, 1)
    assert Triple.apply(y) is y
    (v * v).sum().backward()  # (6x)²
    assert v.tolist() == [[6.0], [12.0]]
    assert x.grad.tolist() == [72.0, 144.0]


def test_a_view_changed_in_place():
    x = vector(1.0, 2.0)
    y = x * 2
    part = y[0:1]
    assert Triple.apply(part) is part
    y.sum().backward()
    assert y.tolist() == [6.0, 4.0]
    assert x.grad.tolist() == [6.0, 2.0]


def test_a_leaf_is_not_changed_in_place():
    with pytest.raises(tw.TalwegError, match=r"leaf Variable.*Triple\.apply"):
        Triple.apply(vector(1.0))


def test_results_without_gradients():
    class Parts(Function):
        @staticmethod
        def forward(ctx, x):
            positive, fixed = x > 0, x * 5
            ctx.mark_non_differentiable(positive, fixed)
            return x * 2, positive, fixed

        @staticmethod
        def backward(ctx, g, *_):
            return g * 2

    x = vector(1.0, 2.0)
    y, positive, fixed = Parts.apply(x)
    assert [t.requires_grad for t in (y, positive, fixed)] == [True, False, False]
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_cotangents_of_unused_results_are_zeros_or_none():
    x = vector(1.0)
    Two.seen, Two.materialize = [], True
    Two.apply(x)[0].backward()
    Two.apply(x)[1].backward()
    Two.materialize = False
    Two.apply(x)[1].backward()
    assert Two.seen == [([1.0], [0.0]), ([0.0], [1.0]), (None, [1.0])]
    assert x.grad.tolist() == [8.0]


def test_setup_context_apart_from_forward():
    class Scale(Function):
        @staticmethod
        def forward(x, k):
            return x * k

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.k = inputs[1]
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx, g):
            assert ctx.saved_tensors[0].tolist() == [4.0]
            return g * ctx.k, None

    x = vector(1.0)
    Scale.apply(x, 4).backward()
    assert x.grad.tolist() == [4.0]


def test_an_argument_returned_as_it_is():
    class Reverse(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return -g

    x = vector(1.0)
    y = Reverse.apply(x)
    assert y is not x
    assert x.is_leaf
    y.backward()
    assert x.grad.tolist() == [-1.0]


def test_other_results_than_tensors_pass_through():
    class Odd(Function):
        @staticmethod
        def forward(ctx, x):
            return None, x * 2, "text"

        @staticmethod
        def backward(ctx, _, g, __):
            return g * 2

    x = vector(1.0)
    none, y, text = Odd.apply(x)
    y.backward()
    assert (none, text, x.grad.tolist()) == (None, "text", [2.0])


def test_a_backward_that_fails_leaves_the_engine_in_order():
    class Fail(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            raise KeyError("boom")

    x = vector(1.0)
    with pytest.raises(KeyError, match="boom"):
        Fail.apply(x).backward()
    assert tw.is_grad_enabled()
    (x * x).backward()
    assert x.grad.tolist() == [2.0]


def test_a_backward_marked_as_differentiable_once():
    class Once(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            return g * 2 * ctx.saved_tensors[0]

    x = vector(3.0)
    (Once.apply(x) ** 2).backward()
    assert x.grad.tolist() == [108.0]
    (g,) = tw.autograd.grad(Once.apply(x) ** 2, x, create_graph=True)
    with pytest.raises(tw.TalwegError, match="trying to differentiate twice"):
        g.backward()
