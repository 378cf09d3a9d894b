"""Images whose channels stand last in memory: what they say of it, and what functions keep."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import nn
from talweg.base.errors import ShapeError
from talweg.base.formats import last_strides, lies_last
from tests.images import images

F = nn.functional
LAST = tw.channels_last


def is_last(t: tw.Tensor) -> bool:
    return bool(t.is_contiguous(memory_format=LAST))


def test_an_order_of_axes_is_what_the_strides_say() -> None:
    x = images(2, 3, 4, 5, last=False)
    y = x.to(memory_format=LAST)
    assert (x.stride(), y.stride()) == ((60, 20, 5, 1), (60, 1, 15, 3))
    assert x.is_contiguous()
    assert not x.is_contiguous(memory_format=LAST)
    assert is_last(y)
    assert not y.is_contiguous()
    np.testing.assert_array_equal(x.numpy(), y.numpy())
    assert y.numpy().strides == (240, 4, 60, 12)
    assert y.to(memory_format=LAST) is y
    assert y.contiguous(memory_format=LAST) is y
    assert y.to(memory_format=tw.preserve_format) is y
    assert x.contiguous() is x
    back = y.contiguous()
    assert back.stride() == x.stride()
    assert back is not y
    assert y.clone().stride() == y.stride()
    assert y.clone(memory_format=tw.contiguous_format).stride() == x.stride()
    assert x.clone(memory_format=LAST).stride() == y.stride()
    assert y.double().stride() == y.stride()
    assert y.half(memory_format=LAST).dtype is tw.float16
    assert y.permute(0, 2, 3, 1).is_contiguous()
    assert y._base is None


def test_images_of_three_dimensions_have_a_format_of_their_own() -> None:
    x = tw.rand(2, 3, 2, 4, 5)
    y = x.contiguous(memory_format=tw.channels_last_3d)
    assert y.stride() == (120, 1, 60, 15, 3)
    assert y.is_contiguous(memory_format=tw.channels_last_3d)
    assert not y.is_contiguous(memory_format=LAST)
    with pytest.raises(ShapeError, match="rank 4"):
        x.to(memory_format=LAST)
    with pytest.raises(ShapeError, match="rank 5"):
        images(2, 3, 4, 5).clone(memory_format=tw.channels_last_3d)


def test_one_channel_or_one_pixel_stands_in_both_orders() -> None:
    for shape in ((2, 1, 4, 5), (2, 3, 1, 1)):
        x = images(*shape, last=False)
        assert x.to(memory_format=LAST) is x
        assert is_last(x)
        assert x.is_contiguous()
    assert not lies_last((2, 3, 1, 1), last_strides((2, 3, 1, 1)))
    assert lies_last((1, 2, 3, 4), last_strides((1, 2, 3, 4)))
    assert not lies_last((2, 3, 4), (12, 1, 3))


def test_tensors_like_others_keep_their_order() -> None:
    x = images(2, 3, 4, 5)
    for made in (tw.zeros_like(x), tw.empty_like(x), tw.full_like(x, 2), tw.rand_like(x)):
        assert made.stride() == x.stride()
    assert tw.ones_like(x, memory_format=tw.contiguous_format).is_contiguous()
    assert is_last(tw.ones_like(x.contiguous(), memory_format=LAST))
    assert is_last(tw.empty(2, 3, 4, 5, memory_format=LAST))
    np.testing.assert_array_equal(tw.full_like(x, 2).numpy(), np.full(x.shape, 2, np.float32))


W = images(6, 3, 3, 3, seed=1)
KEEPING: dict[str, Callable[[Any], Any]] = {
    "relu": tw.relu,
    "twice": lambda x: x * 2 + 1,
    "reflected": lambda x: 1 - x,
    "sum": lambda x: x + x.contiguous(),
    "channel": lambda x: x * tw.ones(1, 3, 1, 1),
    "conv": lambda x: F.conv2d(x, W, padding=1),
    "row-major kernel": lambda x: F.conv2d(x, W.contiguous(), tw.ones(6)),
    "kernel": lambda x: F.conv2d(x.contiguous(), W),
    "transposed": lambda x: F.conv_transpose2d(x, W.transpose(0, 1), stride=2),
    "max": lambda x: F.max_pool2d(x, 2),
    "mean": lambda x: F.avg_pool2d(x, 2, 1),
    "batch norm": lambda x: F.batch_norm(x, tw.zeros(3), tw.ones(3), training=True),
    "dropout": lambda x: F.dropout(x, 0.5, False) + 0,
    "pad": lambda x: F.pad(x, (1, 1, 0, 2)),
    "cat": lambda x: tw.cat([x, x], 1),
    "where": lambda x: tw.where(x > 0, x, 0 * x),
}


@pytest.mark.parametrize("name", KEEPING)
def test_functions_of_images_keep_the_order(name: str) -> None:
    x = images(2, 3, 6, 5)
    found, wanted = KEEPING[name](x), KEEPING[name](x.contiguous())
    assert is_last(found)
    assert not found.is_contiguous()
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), 1e-5, 1e-6)


def test_other_functions_give_rows() -> None:
    x = images(2, 3, 4, 5)
    rows = x.contiguous()
    for made in (rows + x, x.sum(1), x.flatten(1), x.reshape(6, 20), rows.relu()):
        assert made.is_contiguous()
    np.testing.assert_array_equal(x.flatten(1).numpy(), rows.flatten(1).numpy())
    assert x[:, 1].stride() == (60, 15, 3)
    assert x[:, :2].stride() == x.stride()
    np.testing.assert_array_equal(x[1:, ::2, 1].numpy(), rows.numpy()[1:, ::2, 1])


def test_writes_in_place_keep_the_order() -> None:
    x = images(2, 3, 4, 5)
    array = x.contiguous().numpy().copy()
    view, detached = x[:, 1], x.detach()
    x.mul_(2).add_(tw.ones(2, 3, 4, 5))
    array = array * 2 + 1
    view.zero_()
    array[:, 1] = 0
    x[0, :, 2] = tw.arange(15.0).reshape(3, 5)
    array[0, :, 2] = np.arange(15).reshape(3, 5)
    x.relu_()
    array = np.maximum(array, 0)
    for t in (x, detached):
        assert is_last(t)
        assert not t.is_contiguous()
        np.testing.assert_array_equal(t.numpy(), array)
    np.testing.assert_array_equal(view.numpy(), array[:, 1])
    x.copy_(images(2, 3, 4, 5, seed=2, last=False))
    assert is_last(x)
    assert not x.is_contiguous()


def gradients(last: bool) -> list[tw.Tensor]:
    x = images(2, 3, 6, 5, last=last).requires_grad_()
    w = images(20, 3, 3, 3, seed=1, last=last).requires_grad_()
    y = F.max_pool2d(F.conv2d(x, w, padding=1).tanh(), 2)
    y.square().sum().backward()
    (again,) = tw.autograd.grad((x * x).sum(), x)
    assert x.grad is not None
    assert w.grad is not None
    return [y, x.grad, w.grad, again]


def test_gradients_have_the_order_of_what_they_belong_to() -> None:
    for found, wanted in zip(gradients(True), gradients(False), strict=True):
        assert is_last(found)
        assert not found.is_contiguous()
        assert wanted.is_contiguous()
        np.testing.assert_allclose(
            found.detach().numpy(), wanted.detach().numpy(), rtol=1e-5, atol=1e-6
        )


def test_gradients_are_added_up_in_their_order() -> None:
    x = images(2, 3, 6, 5).requires_grad_()
    for _ in range(2):
        (x * x).sum().backward()
    assert x.grad is not None
    assert is_last(x.grad)
    assert not x.grad.is_contiguous()
    np.testing.assert_allclose(x.grad.numpy(), 4 * x.detach().numpy(), rtol=1e-6)


def test_values_looked_at_before_their_gradient_is_taken() -> None:
    x = images(2, 3, 6, 5).requires_grad_()
    y = F.conv2d(x, W).sigmoid()
    seen = y.detach().numpy().copy()
    y.sum().backward()
    rows = x.detach().contiguous().requires_grad_()
    F.conv2d(rows, W.contiguous()).sigmoid().sum().backward()
    assert x.grad is not None
    assert rows.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), rows.grad.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(y.detach().numpy(), seen)


def test_modules_convert_what_has_four_axes() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))
    before = {name: t.numpy() for name, t in net.state_dict().items()}
    assert net.to(memory_format=LAST) is net
    weight: Any = net[0].weight
    assert is_last(weight)
    assert not weight.is_contiguous()
    assert weight.is_leaf
    for name, t in net.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), before[name])
    file = io.BytesIO()
    tw.save(net.state_dict(), file)
    file.seek(0)
    with tw.no_grad():
        weight.zero_()
    net.load_state_dict(tw.load(file))
    np.testing.assert_array_equal(weight.detach().numpy(), before["0.weight"])
    assert is_last(weight)
    assert not weight.is_contiguous()
    assert copy.deepcopy(net)[0].weight.stride() == weight.stride()
    net.to(memory_format=tw.contiguous_format)
    assert weight.is_contiguous()


def test_formats_have_names() -> None:
    assert repr(LAST) == "talweg.channels_last"
    assert isinstance(LAST, tw.memory_format)
    assert pickle.loads(pickle.dumps(LAST)) is LAST
    assert copy.deepcopy(LAST) is LAST
    x = images(2, 3, 4, 5)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(x)).numpy(), x.numpy())
    np.testing.assert_array_equal(np.from_dlpack(x), x.numpy())


def test_a_result_does_not_hold_what_it_was_computed_from() -> None:
    x = images(2, 3, 40, 50) + 1
    x.numpy()
    buffer = weakref.ref(x._storage.node.buffer)
    y = F.conv2d(x, W)
    y.numpy()
    del x
    gc.collect()
    assert buffer() is None
    assert is_last(y)
