"""Random sequences of views and in-place writes, against NumPy arrays that share memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import talweg as tw
from talweg.base.shapes import view_strides
from talweg.engine.barrier import flush

Draw = Callable[..., Any]
SHAPES = st.sampled_from([(), (1,), (6,), (2, 3), (3, 1, 2), (2, 2, 3), (4, 1), (0, 3), (1, 1)])
REGROUPED = {
    0: [(0,), (0, 3), (3, 0)],
    1: [(), (1,), (1, 1)],
    2: [(2,), (1, 2), (2, 1), (2, 1, 1)],
    3: [(3,), (3, 1)],
    4: [(4,), (2, 2), (1, 4), (4, 1)],
    6: [(6,), (2, 3), (3, 2), (3, 1, 2), (1, 6), (2, 1, 3)],
    8: [(8,), (2, 4), (2, 2, 2)],
    9: [(9,), (3, 3), (9, 1)],
    12: [(12,), (3, 4), (2, 6), (2, 2, 3), (4, 1, 3)],
}


class Handle:
    """A Tensor and the NumPy array that is to behave like it."""

    def __init__(self, tensor: tw.Tensor, array: np.ndarray, expanded: bool = False) -> None:
        self.tensor = tensor
        self.array = array
        self.expanded = expanded

    def check(self, root: np.ndarray) -> None:
        t, a = self.tensor, self.array
        assert t.shape == a.shape
        assert np.array_equal(t.numpy(), a), (t.tolist(), a.tolist())
        if a.size:
            item = a.itemsize
            moving = [i for i, n in enumerate(a.shape) if n > 1]
            assert [t.stride(i) for i in moving] == [a.strides[i] // item for i in moving]
            assert t.is_contiguous() == a.flags.c_contiguous
            assert t.storage_offset() == offset(a, root) // item


def axis(draw: Draw, x: tw.Tensor) -> int:
    return int(draw(st.integers(-x.ndim, x.ndim - 1)))


def a_slice(draw: Draw, n: int) -> slice:
    start = draw(st.integers(-n - 1, n + 1) | st.none())
    stop = draw(st.integers(-n - 1, n + 1) | st.none())
    return slice(start, stop, draw(st.sampled_from([None, 1, 2, 3])))


def a_key(draw: Draw, shape: tuple[int, ...]) -> tuple[Any, ...]:
    key: list[Any] = []
    for n in shape[: draw(st.integers(0, len(shape)))]:
        whole = st.just(slice(None))
        key.append(draw(whole | st.integers(-n, n - 1)) if n and draw(st.booleans()) else None)
        if key[-1] is None:
            key[-1] = a_slice(draw, n)
    if draw(st.booleans()):
        key.insert(draw(st.integers(0, len(key))), None)
    if draw(st.integers(0, 3)) == 0:
        key.append(Ellipsis)
    return tuple(key)


def subscript(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    key = a_key(draw, x.shape)
    # A trailing Ellipsis makes NumPy return a 0-d view instead of a copied number.
    return x[key], a[key if Ellipsis in key else (*key, Ellipsis)]


def reshaped(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    shape = draw(st.sampled_from(REGROUPED.get(a.size, [(a.size,)])))
    return x.reshape(shape), a.reshape(shape)


def viewed(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    shape = draw(st.sampled_from(REGROUPED.get(a.size, [(a.size,)])))
    try:
        wanted = a.reshape(shape, copy=False)
    except ValueError:
        with pytest.raises(tw.TalwegError, match="not compatible with the strides"):
            x.view(shape)
        return x.reshape(shape), a.reshape(shape)
    return x.view(shape), wanted


def permuted(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    order = tuple(draw(st.permutations(range(x.ndim))))
    return x.permute(order), a.transpose(order)


def swapped(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    one, two = axis(draw, x), axis(draw, x)
    name = draw(st.sampled_from(["transpose", "swapaxes", "swapdims"]))
    return getattr(x, name)(one, two), a.swapaxes(one, two)


def reversed_axes(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    return x.permute(*reversed(range(x.ndim))) if x.ndim != 2 else x.T, a.T


def selected(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    k = axis(draw, x)
    n = x.shape[k]
    if not n:
        return x, a
    i = draw(st.integers(-n, n - 1))
    key = [slice(None)] * x.ndim
    key[k] = i
    return x.select(k, i), a[(*key, ...)]


def narrowed(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    k = axis(draw, x)
    n = x.shape[k]
    start = draw(st.integers(0, n))
    length = draw(st.integers(0, n - start))
    key = [slice(None)] * x.ndim
    key[k] = slice(start, start + length)
    return x.narrow(k, start, length), a[tuple(key)]


def expanded(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    shape = [draw(st.integers(1, 3)) if n == 1 else n for n in a.shape]
    lead = [2] * draw(st.integers(0, 1))
    wanted = (*lead, *shape)
    return x.expand(wanted), np.broadcast_to(a, wanted)


def unsqueezed(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    k = draw(st.integers(-x.ndim - 1, x.ndim))
    return x.unsqueeze(k), np.expand_dims(a, k)


def squeezed(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    return x.squeeze(), a.squeeze()[...]


def flattened(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    first = draw(st.integers(0, x.ndim - 1))
    last = draw(st.integers(first, x.ndim - 1))
    size = int(np.prod(a.shape[first : last + 1]))
    return x.flatten(first, last), a.reshape(*a.shape[:first], size, *a.shape[last + 1 :])


def diagonal(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    if x.ndim < 2:
        return x, a
    one, two = draw(st.permutations(range(x.ndim)))[:2]
    offset = draw(st.integers(-2, 2))
    return x.diagonal(offset, one, two), a.diagonal(offset, one, two)


def part(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    k = axis(draw, x)
    count = draw(st.integers(1, 3))
    name = draw(st.sampled_from(["split", "chunk", "unbind", "tensor_split"]))
    if name == "split":
        bounds = list(range(count, a.shape[k], count))
        ours, theirs = x.split(count, k), np.split(a, bounds, k)
    elif name == "chunk":
        size = max(-(-a.shape[k] // count), 1)
        ours = x.chunk(count, k)
        theirs = np.split(a, list(range(size, a.shape[k], size)), k)
        theirs += theirs * (len(ours) - len(theirs)) if not a.shape[k] else []
    elif name == "unbind":
        ours, theirs = x.unbind(k), [np.moveaxis(a, k, 0)[i, ...] for i in range(a.shape[k])]
    else:
        ours, theirs = x.tensor_split(count, k), np.array_split(a, count, k)
    assert len(ours) == len(theirs)
    if not ours:
        return x, a
    i = draw(st.integers(0, len(ours) - 1))
    return ours[i], theirs[i]


def detached(draw: Draw, x: tw.Tensor, a: np.ndarray) -> tuple[tw.Tensor, np.ndarray]:
    return draw(st.sampled_from([x.detach(), x.data, x.view(x.shape)])), a


ANY_RANK = (subscript, reshaped, viewed, permuted, reversed_axes, unsqueezed, squeezed, detached)
WITH_AXES = (swapped, selected, narrowed, expanded, flattened, diagonal, part)


def number(draw: Draw) -> float:
    return float(draw(st.integers(-9, 9)))


def write(draw: Draw, h: Handle, others: list[Handle]) -> None:
    x, a = h.tensor, h.array
    kind = draw(st.sampled_from(["add", "mul", "fill", "zero", "set", "copy", "mask", "iop", "at"]))
    v = number(draw)
    if kind == "add":
        x.add_(v)
        a += v
    elif kind == "mul":
        x.mul_(-1)
        a *= -1
    elif kind == "fill":
        x.fill_(v)
        a[...] = v
    elif kind == "zero":
        x.zero_()
        a[...] = 0
    elif kind == "set":
        key = a_key(draw, x.shape)
        x[key] = v
        a[key] = v
    elif kind == "copy":
        fits = [o for o in others if o.array.shape == a.shape]
        o = draw(st.sampled_from(fits))
        x.copy_(o.tensor)
        a[...] = o.array.copy()
    elif kind == "mask":
        x[x > v] = v
        a[a > v] = v
    elif kind == "iop":
        x += x
        a += a.copy()
    elif a.ndim and a.shape[0]:
        rows = draw(st.lists(st.integers(-a.shape[0], a.shape[0] - 1), min_size=1, max_size=3))
        x[tw.tensor(rows)] = v
        a[np.array(rows)] = v


def offset(a: np.ndarray, root: np.ndarray) -> int:
    """Return where `a` begins in the memory of `root`, in bytes."""
    start, origin = a.__array_interface__["data"][0], root.__array_interface__["data"][0]
    return int(start - origin) if a.size else 0


def writable(a: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Return the view that `a` is, writable also where NumPy made it read-only."""
    return np.ndarray(a.shape, a.dtype, root, offset(a, root), a.strides)


def sequence(data: st.DataObject, steps: int) -> None:
    draw = data.draw
    shape = draw(SHAPES)
    root = np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)
    handles = [Handle(tw.tensor(root), root)]
    roots = [root]
    for _ in range(steps):
        h = draw(st.sampled_from(handles))
        action = draw(st.integers(0, 9))
        if action < 5:
            options = ANY_RANK + (WITH_AXES if h.tensor.ndim else ())
            view = draw(st.sampled_from(options))
            t, a = view(draw, h.tensor, h.array)
            repeated = h.expanded or view is expanded
            root = next((r for r in roots if np.may_share_memory(r, a)), None)
            if root is None:
                root = a.copy(order="C")
                repeated = False
                roots.append(root)
                a = root[...]
            handles = [*handles[-7:], Handle(t, writable(a, root), repeated)]
        elif action < 8:
            if not h.expanded:
                write(draw, h, handles)
        elif action == 8:
            flush()
        else:
            h.tensor.numpy()
        if draw(st.booleans()):
            check(handles, roots)
    check(handles, roots)


def check(handles: list[Handle], roots: list[np.ndarray]) -> None:
    for h in handles:
        h.check(next((r for r in roots if np.may_share_memory(r, h.array)), roots[0]))


@settings(max_examples=250)
@given(st.data())
def test_views_and_writes_alias_as_numpy_arrays_do(data: st.DataObject) -> None:
    sequence(data, data.draw(st.integers(1, 8)))


@pytest.mark.slow
@settings(max_examples=600)
@given(st.data())
def test_long_sequences_alias_as_numpy_arrays_do(data: st.DataObject) -> None:
    sequence(data, data.draw(st.integers(5, 25)))


@settings(max_examples=500)
@given(st.data())
def test_view_strides_are_those_of_numpy(data: st.DataObject) -> None:
    draw = data.draw
    shape = draw(st.sampled_from([(6,), (2, 3), (12,), (3, 4), (2, 2, 3), (4, 1, 3), (1, 6)]))
    a = np.arange(np.prod(shape)).reshape(shape)
    x = tw.tensor(a)
    for _ in range(draw(st.integers(0, 3))):
        options = (permuted, narrowed, subscript, expanded, swapped) if a.ndim else (unsqueezed,)
        x, a = draw(st.sampled_from(options))(draw, x, a)
    new = draw(st.sampled_from(REGROUPED.get(a.size, [(a.size,)])))
    strides = tuple(s // a.itemsize for s in a.strides)
    try:
        wanted = a.reshape(new, copy=False)
    except ValueError:
        assert view_strides(a.shape, strides, new) is None
        return
    got = view_strides(a.shape, strides, new)
    assert got is not None
    for n, ours, theirs in zip(new, got, wanted.strides):
        assert n <= 1 or ours * a.itemsize == theirs or not a.size
