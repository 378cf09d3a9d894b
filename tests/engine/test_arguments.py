"""Wrong arguments: one error that names the function, the parameter, the line and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw
import talweg.nn.functional as F
from talweg import nn

ARRAY = np.ones((2, 3), np.float32)


def x() -> tw.Tensor:
    return tw.ones(2, 3)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: tw.relu(ARRAY), "relu: input must be a Tensor, got ndarray"),
        (lambda: tw.sum([1, 2]), "sum: input must be a Tensor, got list"),
        (lambda: F.relu([x(), x()]), r"got a list of Tensors; tw.stack\(\) or tw.cat\(\)"),
        (lambda: nn.Linear(3, 2)(ARRAY), "linear: input must be a Tensor, got ndarray"),
        (lambda: tw.reshape(ARRAY, (3, 2)), "reshape: input must be a Tensor, got ndarray"),
        (tw.reshape, "reshape: missing a required argument: 'input'"),
        (lambda: tw.matmul(x(), [1.0]), "matmul: other must be a Tensor, got list"),
        (lambda: tw.cat([x(), ARRAY]), "cat: tensors must be a list of Tensors, one .* is ndarray"),
        (lambda: tw.cat(3), "cat: tensors must be a list of Tensors, got int"),
        (lambda: tw.exp(x(), 1, 2), r"exp: too many positional .* are \(input\)"),
        (lambda: tw.sum(x(), dimm=1), "sum: got an unexpected .* 'dimm'; .*input, dim, keepdim"),
        (lambda: tw.matmul(x()), "matmul: missing a required argument: 'other'"),
        (lambda: F.mse_loss(x(), ARRAY), r"got ndarray; convert it with tw.tensor\(\)"),
    ],
)
def test_wrong_argument(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(TypeError, match=text) as caught:
        call()
    assert "test_arguments.py" in str(caught.value)


def test_an_error_of_a_users_own_code_is_left_alone() -> None:
    class Broken(tw.autograd.Function):
        @staticmethod
        def forward(ctx: Any, t: tw.Tensor) -> tw.Tensor:
            return t.no_such_method()  # type: ignore[no-any-return]

        @staticmethod
        def backward(ctx: Any, g: tw.Tensor) -> tw.Tensor:
            return g

    with pytest.raises(AttributeError, match="no_such_method"):
        Broken.apply(x())


def test_devices_that_are_not_there() -> None:
    assert not tw.cuda.is_available()
    assert tw.cuda.device_count() == 0
    for move in (x().cuda, nn.Linear(2, 2).cuda, lambda: tw.zeros(2, device="cuda:0")):
        with pytest.raises(tw.TalwegError, match=r"device 'cuda.*this machine offers: cpu"):
            move()


def test_a_file_instead_of_a_state_dict() -> None:
    with pytest.raises(TypeError, match=r"a dict of Tensors by name, got str; tw.load\(path\)"):
        nn.Linear(2, 2).load_state_dict("model.safetensors")  # type: ignore[arg-type]


def test_steps_of_the_tape_print_their_name() -> None:
    y = tw.ones(2, requires_grad=True) * 2
    assert repr(y.grad_fn).startswith("<MulBackward0 object at 0x")


@pytest.mark.parametrize("inside", [False, True])
def test_warnings_point_at_the_users_line(inside: bool) -> None:
    call = nn.MSELoss() if inside else F.mse_loss
    with pytest.warns(UserWarning, match="they are broadcast") as caught:
        call(tw.ones(2, 1), tw.ones(2))
    assert caught[0].filename == __file__


def test_constants_and_writes_through_data() -> None:
    assert tw.pi == np.pi
    assert tw.inf == float("inf")
    assert tw.isnan(tw.tensor(tw.nan)).item()
    w = tw.tensor([1.0, 2.0], requires_grad=True)
    y = w.exp()
    y.data.zero_()
    y.sum().backward()
    assert w.grad is not None
    np.testing.assert_allclose(w.grad.numpy(), np.exp([1.0, 2.0]), rtol=1e-6)
    assert y.tolist() == [0.0, 0.0]


def test_a_list_of_one_tensor_is_not_that_tensor() -> None:
    pair = tw.ones(2, 3)
    for _ in range(3):
        assert tw.stack([pair], 0).shape == (1, 2, 3)
    with pytest.raises(TypeError):
        tw.stack(pair[0], 0).numpy()


def test_a_number_is_part_of_what_a_call_is_known_by() -> None:
    x = tw.tensor(np.arange(6.0, dtype=np.float32).reshape(2, 3), requires_grad=True)
    for _ in range(3):
        assert x.sum(0).tolist() == [3.0, 5.0, 7.0]
        assert x.sum(1).tolist() == [3.0, 12.0]
        assert x.argmax(-1).tolist() == [2, 2]
        assert x.argmax(0).tolist() == [1, 1, 1]
        assert not x.argmax(0).requires_grad
        (g,) = tw.autograd.grad(x.sum(1)[1], (x,))
        assert g.tolist() == [[0.0] * 3, [1.0] * 3]
    with pytest.raises(IndexError):
        x.sum(2)


def test_factors_may_stand_before_the_tensors() -> None:
    x, y, z = (tw.tensor(v) for v in ([1.0, 2.0], [3.0, 4.0], [5.0, 8.0]))
    assert tw.add(x, 2.0, y).tolist() == x.add(2, y).tolist() == [7.0, 10.0]
    assert x.sub(2.0, y).tolist() == [-5.0, -6.0]
    assert x.clone().add_(2.0, y).tolist() == [7.0, 10.0]
    assert x.clone().addcmul_(0.5, y, z).tolist() == [8.5, 18.0]
    assert x.clone().addcdiv_(-1, z, y).tolist() == pytest.approx([1 - 5 / 3, 0])
    m = tw.tensor([[1.0, 2.0], [3.0, 4.0]])
    product = (m @ m).numpy()
    assert (tw.addmm(0.5, m, 2.0, m, m).numpy() == 0.5 * m.numpy() + 2 * product).all()
    assert (m.clone().addmm_(0.5, m, m).numpy() == 0.5 * m.numpy() + product).all()
    assert x.addmv(0.0, m, y).tolist() == (m @ y).tolist()
    with pytest.raises(TypeError, match="too many positional"):
        x.add(y, 2.0)


def test_factors_may_be_tensors_of_one_element() -> None:
    x, two = tw.tensor([1.0, 2.0]), tw.tensor(2.0)
    assert x.add(x, alpha=two).tolist() == [3.0, 6.0]
    assert x.clone().add_(x, alpha=tw.ones(1)).tolist() == [2.0, 4.0]
    assert x.addcmul(x, x, value=two).tolist() == [3.0, 10.0]
