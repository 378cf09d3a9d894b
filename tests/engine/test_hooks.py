"""Hooks on Tensors and on steps of the tape, and gradients kept on request."""

from __future__ import annotations

import pytest

import talweg as tw


def vector(*numbers: float) -> tw.Tensor:
    return tw.tensor(numbers, dtype=tw.float64, requires_grad=True)


def test_hooks_run_in_the_order_of_registration_and_replace_the_gradient() -> None:
    w = vector(1.0, 2.0)
    seen: list[str] = []
    w.register_hook(lambda g: (seen.append("double"), g * 2)[1])
    w.register_hook(lambda g: (seen.append("plus one"), g + 1)[1])
    w.register_hook(lambda g: seen.append("look"))
    w.register_post_accumulate_grad_hook(lambda t: seen.append(f"after {t.grad.tolist()}"))
    w.sum().backward()
    assert seen == ["double", "plus one", "look", "after [3.0, 3.0]"]
    assert w.grad.tolist() == [3.0, 3.0]


def test_a_removed_hook_runs_no_more() -> None:
    w = vector(1.0)
    handle = w.register_hook(lambda g: g * 10)
    w.sum().backward()
    handle.remove()
    handle.remove()
    w.sum().backward()
    assert w.grad.tolist() == [11.0]


def test_a_hook_is_a_context_that_ends() -> None:
    w = vector(1.0)
    y = w * 1
    with y.register_hook(lambda g: g * 10):
        y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert w.grad.tolist() == [11.0]


def test_a_hook_sees_the_sum_of_all_uses_once() -> None:
    w = vector(1.0, 2.0)
    y = w * 1
    seen: list[list[float]] = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    (y * 2 + y * y).sum().backward()
    assert seen == [[4.0, 6.0]]


def test_a_hook_that_changes_the_shape_or_dtype_is_an_error() -> None:
    for wrong in (lambda g: g.sum(), lambda g: g.float(), lambda g: 3.0):
        w = vector(1.0, 2.0)
        w.register_hook(wrong)
        with pytest.raises(tw.TalwegError, match=r"changed the type of the gradient.*float64\[2\]"):
            w.sum().backward()


def test_hooks_need_a_gradient() -> None:
    x = tw.ones(2)
    with pytest.raises(tw.TalwegError, match="doesn't require gradient"):
        x.register_hook(lambda g: g)
    with pytest.raises(tw.TalwegError, match="requires_grad=False"):
        x.retain_grad()
    with pytest.raises(tw.TalwegError, match="leaf"):
        (vector(1.0) * 2).register_post_accumulate_grad_hook(lambda t: None)


def test_a_hook_runs_for_autograd_grad_too() -> None:
    w = vector(3.0)
    y = w * w
    y.register_hook(lambda g: g * 5)
    assert tw.autograd.grad(y, w)[0].tolist() == [30.0]
    w.register_hook(lambda g: g + 1)
    assert tw.autograd.grad(w * w, w)[0].tolist() == [7.0]


def test_a_hook_registered_before_an_in_place_write_sees_the_earlier_value() -> None:
    w = vector(1.0, 2.0)
    y = w * 1
    seen: list[list[float]] = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.mul_(2)
    y.sum().backward()
    assert seen == [[2.0, 2.0]]


def test_a_hook_on_a_graph_of_gradients() -> None:
    w = tw.tensor(3.0, requires_grad=True)
    y = w**2
    y.register_hook(lambda g: g * w)
    (g,) = tw.autograd.grad(y, w, create_graph=True)  # w * 2w
    assert g.item() == 18.0
    assert tw.autograd.grad(g, w)[0].item() == 12.0


def test_leaves_keep_their_gradient_and_others_on_request() -> None:
    w = vector(1.0, 2.0)
    y = w * 2
    z = y * y
    y.retain_grad()
    y.retain_grad()
    assert y.retains_grad
    assert not w.retains_grad
    z.sum().backward(retain_graph=True)
    assert y.grad.tolist() == [4.0, 8.0]
    assert z.grad is None
    z.sum().backward()
    assert y.grad.tolist() == [8.0, 16.0], "it accumulates"


def test_a_retained_gradient_is_the_one_after_every_hook() -> None:
    w = vector(1.0, 2.0)
    y = w * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 3)
    y.sum().backward()
    assert y.grad.tolist() == [3.0, 3.0]
    assert w.grad.tolist() == [6.0, 6.0]


def test_a_retained_gradient_is_that_of_the_newest_value() -> None:
    w = vector(1.0, 2.0)
    y = w * 1
    y.retain_grad()
    y.mul_(2)
    y.sum().backward()
    assert y.grad.tolist() == [1.0, 1.0]
    assert w.grad.tolist() == [2.0, 2.0]


def test_a_retained_gradient_of_a_base_written_through_a_view() -> None:
    w = vector(1.0, 2.0)
    y = w * 1
    y.retain_grad()
    v = y[0]
    v.retain_grad()
    y[1] = 5.0
    (y * y).sum().backward()
    assert y.grad.tolist() == [2.0, 10.0]
    assert v.grad is None
    assert w.grad.tolist() == [2.0, 0.0]


def test_backward_to_chosen_inputs_only() -> None:
    w = vector(1.0, 2.0)
    y = w * 2
    z = (y * y).sum()
    z.backward(inputs=[y], retain_graph=True)
    assert y.grad.tolist() == [4.0, 8.0]
    assert w.grad is None
    y.retain_grad()
    z.backward(inputs=y, retain_graph=True)
    assert y.grad.tolist() == [8.0, 16.0]
    z.backward(inputs=w)
    assert w.grad.tolist() == [8.0, 16.0]
    assert y.grad.tolist() == [12.0, 24.0], "retained on the way"


def test_steps_of_the_tape_have_hooks_on_both_sides() -> None:
    w = vector(1.0, 2.0)
    y = w * 3
    y.grad_fn.register_prehook(lambda outs: tuple(g * 2 for g in outs))
    seen: list[tuple[list[float], list[float]]] = []
    handle = y.grad_fn.register_hook(lambda i, o: seen.append((i[0].tolist(), o[0].tolist())))
    y.sum().backward(retain_graph=True)
    assert seen == [([6.0, 6.0], [2.0, 2.0])]
    handle.remove()
    y.grad_fn.register_hook(lambda i, o: (i[0] * 10,))
    y.sum().backward()
    assert w.grad.tolist() == [66.0, 66.0]
