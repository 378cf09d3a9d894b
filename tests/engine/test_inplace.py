"""Gradients through in-place writes, on whole Tensors and through views."""

from __future__ import annotations

import pytest

import talweg as tw

STALE = "modified by an inplace operation"


def vector(*numbers: float) -> tw.Tensor:
    return tw.tensor(numbers, dtype=tw.float64, requires_grad=True)


def test_writing_products_into_a_tensor_that_needs_no_gradient() -> None:
    w = vector(1.0, 2.0)
    y = tw.tensor([3.0, 4.0], dtype=tw.float64)
    y.mul_(w)
    assert y.requires_grad
    assert y.grad_fn.name() == "MulBackward0"
    y.sum().backward()
    assert w.grad.tolist() == [3.0, 4.0]


def test_a_chain_of_in_place_products() -> None:
    w = vector(1.0, 2.0)
    y = w * 3
    for _ in range(3):
        y.mul_(w)
        y.add_(1)
    y.sum().backward()  # 3w⁴ + w² + w + 1
    assert w.grad.tolist() == [15.0, 101.0]


def test_a_product_with_itself_in_place() -> None:
    w = vector(1.0, 2.0)
    y = w * 3
    y.mul_(y)
    y.sum().backward()
    assert w.grad.tolist() == [18.0, 36.0]


def test_in_place_through_a_view_changes_the_gradient_of_its_base() -> None:
    w = vector(1.0, 2.0)
    y = w * 1
    v = y[0]
    v.mul_(w[1])
    assert y.tolist() == [2.0, 2.0]
    y.sum().backward()  # w0·w1 + w1
    assert w.grad.tolist() == [2.0, 2.0]


def test_in_place_on_the_base_changes_the_gradient_of_its_views() -> None:
    w = vector(1.0, 2.0)
    y = w * 1
    v = y[0]
    y.mul_(w)
    v.backward()
    assert w.grad.tolist() == [2.0, 0.0]


def test_in_place_through_a_view_of_a_view() -> None:
    w = tw.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = w * 1
    u = y.t()[0]  # the first column of y
    u.mul_(w[0])
    assert y.tolist() == [[1.0, 2.0], [6.0, 4.0]]
    (y * y).sum().backward()  # w00⁴ + w01² + (w10·w01)² + w11²
    assert w.grad.tolist() == [[4.0, 2 * 2 + 2 * 9 * 2], [2 * 3 * 4, 8.0]]


def test_values_written_one_by_one() -> None:
    w = vector(1.0, 2.0, 3.0)
    x = tw.zeros(3, dtype=tw.float64)
    for i in range(3):
        x[i] = w[i] * w[i] * (i + 1)
    (x * x).sum().backward()  # Σ ((i + 1) w²)²
    assert w.grad.tolist() == [4.0, 4 * 4 * 8.0, 4 * 9 * 27.0]


def test_a_recurrence_written_into_a_row() -> None:
    w = tw.tensor(0.5, dtype=tw.float64, requires_grad=True)
    x = tw.zeros(5, dtype=tw.float64)
    x[0] = 1
    for i in range(1, 5):
        x[i] = x[i - 1].clone() * w
    x[4].backward()
    assert w.grad.item() == 4 * 0.5**3


def test_an_overwritten_value_has_no_gradient() -> None:
    w = vector(1.0, 2.0, 3.0)
    y = w * 2
    y[1] = 7.0
    y.sum().backward()
    assert w.grad.tolist() == [2.0, 0.0, 2.0]
    z = w * 2
    z.fill_(1.0)
    assert not (z.sum() * 1).requires_grad or tw.autograd.grad(z.sum(), w, allow_unused=True) == (
        None,
    )


def test_masked_and_indexed_writes() -> None:
    w = vector(1.0, -2.0, 3.0, -4.0)
    y = w * w
    y[w < 0] = 0.0
    y[tw.tensor([0, 3])] = (w * 10)[2:]
    y.sum().backward()  # 10·w2 + w2² + 10·w3
    assert y.tolist() == [30.0, 0.0, 9.0, -40.0]
    assert w.grad.tolist() == [0.0, 0.0, 16.0, 10.0]


def test_copied_tensors_have_places_of_their_own() -> None:
    w = vector(1.0, 2.0)
    y = w * 2
    x = tw.zeros(2, dtype=tw.float64)
    x.copy_(y)
    x.retain_grad()
    y.retain_grad()
    (x.sum() + (y * 5).sum()).backward()
    assert x.grad.tolist() == [1.0, 1.0]
    assert y.grad.tolist() == [6.0, 6.0]
    assert w.grad.tolist() == [12.0, 12.0]


def test_a_hook_on_a_copy_of_a_leaf() -> None:
    w = vector(1.0, 2.0)
    x = tw.zeros(2, dtype=tw.float64)
    x.copy_(w)
    assert not x.is_leaf
    x.register_hook(lambda g: g * 3)
    (x * 2).sum().backward()
    assert w.grad.tolist() == [6.0, 6.0]


def test_copy_converts_and_broadcasts() -> None:
    w = tw.tensor([2.0], requires_grad=True)
    x = tw.zeros(2, 3, dtype=tw.float64)
    x.copy_(w)
    (x * tw.arange(6.0).reshape(2, 3)).sum().backward()
    assert w.grad.dtype is tw.float32
    assert w.grad.tolist() == [15.0]


@pytest.mark.parametrize(
    "write",
    [
        lambda y: y.add_(1),
        lambda y: y.__setitem__(0, 5.0),
        lambda y: y.view(2, 1)[1].zero_(),
        lambda y: y.detach().mul_(2),
        lambda y: y.t().copy_(tw.zeros(2)),
        lambda y: y.__setitem__(tw.tensor([True, False]), 0.0),
    ],
)
def test_a_needed_value_that_was_overwritten(write) -> None:  # type: ignore[no-untyped-def]
    w = vector(1.0, 2.0)
    y = w * 1
    loss = (y * y).sum()
    write(y)
    with pytest.raises(tw.TalwegError, match=STALE) as caught:
        loss.backward()
    assert "version 1; expected version 0" in str(caught.value)
    assert "loss = (y * y).sum()" in str(caught.value)

    y = w * 1
    loss = (y * y).sum()
    with tw.no_grad():
        write(y)
    with pytest.raises(tw.TalwegError, match=STALE):
        loss.backward()


def test_a_leaf_that_an_optimizer_changed_too_early() -> None:
    w = vector(1.0, 2.0)
    loss = (w * w).sum()
    with tw.no_grad():
        w.sub_(0.1)
    with pytest.raises(tw.TalwegError, match=STALE):
        loss.backward()


def test_an_overwritten_value_that_no_gradient_needs() -> None:
    w = vector(1.0, 2.0)
    y = w * 1
    loss = (y + y).sum()
    y.add_(1)
    loss.backward()
    assert w.grad.tolist() == [2.0, 2.0]


def test_a_value_that_only_a_gradient_nobody_wants_reads() -> None:
    w = vector(1.0, 2.0)
    y = w * 1
    loss = (y * tw.tensor([3.0, 5.0])).sum()
    y.add_(1)
    loss.backward()
    assert w.grad.tolist() == [3.0, 5.0]
    w.grad = None
    tw.nn.functional.dropout(w * 2, 0.5, True, inplace=True).sum().backward()
    assert set(w.grad.tolist()) <= {0.0, 4.0}


def test_versions_count_writes() -> None:
    x = tw.zeros(3)
    versions = [x._version]
    x.add_(1)
    versions.append(x._version)
    v = x[0]
    v.mul_(2)
    versions += [x._version, v._version]
    x.detach().zero_()
    versions.append(x._version)
    x.data.zero_()
    x.data[0] = 1.0
    x.data.detach()[0] = 1.0
    versions.append(x._version)
    assert versions == [0, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    "write",
    [
        lambda w: w.add_(1),
        lambda w: w.__setitem__(0, 5.0),
        lambda w: w.view(2)[0].mul_(2),
        lambda w: w.fill_(0),
        lambda w: w.zero_(),
    ],
)
def test_leaves_that_require_gradients_are_not_written_to(write) -> None:  # type: ignore[no-untyped-def]
    w = vector(1.0, 2.0)
    with pytest.raises(tw.TalwegError, match=r"leaf Variable that requires grad .*in-place"):
        write(w)
    assert w.tolist() == [1.0, 2.0]
    with tw.no_grad():
        write(w)
    assert w.requires_grad
    assert w.is_leaf
    assert w.tolist() != [1.0, 2.0]
