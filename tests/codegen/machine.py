"""Machine code beside the nest interpreter, for several machines that this one can run as."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import IndexOutOfRange
from talweg.codegen.cpu import host
from talweg.codegen.object import compile_nest
from talweg.loops.interpret import interpret
from talweg.loops.nest import LoopNest
from talweg.loops.scalar import Argument, Scalar
from talweg.loops.scalar import Constant as ConstantScalar
from talweg.runtime.jit import Kernel
from talweg.schedule.loops import Loops
from talweg.schedule.target import Target

STAGE = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
)


@cache
def targets() -> dict[str, Target]:
    """This machine, with short vectors so that small samples fill them, and older machines."""
    known = {"host": host()}
    known |= {f"short{n}": replace(host(), width=n) for n in (8, 16)}
    known["quick16"] = replace(host(), width=16, level=0)
    if host().is_x86:
        known["sse2"] = Target(host().triple, "x86-64", "")
        known["quick8"] = Target(host().triple, "x86-64", "", level=0, width=8)
        if host().has("avx2") and host().has("fma"):
            known["avx2"] = Target(host().triple, "haswell", "+avx2,+f16c,+fma,+sse4.1")
    return known


def size_of(size: Scalar, values: Mapping[str, Any]) -> int:
    if isinstance(size, ConstantScalar):
        return int(size.text)
    assert isinstance(size, Argument)
    return int(values[size.name])


def launch_nest(
    nest: LoopNest,
    arrays: Sequence[np.ndarray],
    values: Mapping[str, Any],
    target: Target | None = None,
    vectors: bool = True,
) -> tuple[np.ndarray, ...]:
    """Compile and run a nest; arrays and results are in compute dtypes."""
    made = compile_nest(nest, target or host(), schedule=Loops(vectors))
    kernel = Kernel(made.code, made.signature)
    return launch(kernel, nest, arrays, values)


def launch(
    kernel: Kernel, nest: LoopNest, arrays: Sequence[np.ndarray], values: Mapping[str, Any]
) -> tuple[np.ndarray, ...]:
    given = [np.array(dtypes.encode(a, b.dtype), order="C") for a, b in zip(arrays, nest.inputs)]
    outputs = []
    for buffer in nest.outputs:
        shape = tuple(size_of(s, values) for s in buffer.shape)
        unset = {"float": np.nan, "complex": np.nan, "bool": True}.get(buffer.dtype.category, 113)
        filled = dtypes.encode(np.full(shape, unset, buffer.dtype.compute), buffer.dtype)
        outputs.append(np.array(filled, order="C"))
    addresses = [a.ctypes.data for a in (*given, *outputs)]
    numbers = [values[a.name] for a in nest.arguments]
    if kernel.signature.messages:
        kernel.call(addresses, numbers)  # which check fails first depends on the order
    else:
        run_in_pieces(kernel, addresses, numbers)
    return tuple(dtypes.decode(o, b.dtype) for o, b in zip(outputs, nest.outputs))


def run_in_pieces(kernel: Kernel, addresses: Sequence[int], values: Sequence[Any]) -> None:
    """Run every stage from its last items to its first, a few at a time."""
    scratch_bytes, shared_bytes, *work = kernel.sizes(values)
    scratch, shared = (np.full(n // 8 + 16, -1) for n in (scratch_bytes, shared_bytes))
    places = [m.ctypes.data + -m.ctypes.data % 64 for m in (scratch, shared)]
    block = ctypes.create_string_buffer(kernel.block_bytes)
    kernel.pack(block, 0, addresses, places[1], values)
    for address, items, grain in zip(kernel.stages, work[::2], work[1::2], strict=True):
        assert items >= 0
        assert grain >= 1
        end, piece = items, 1
        while end > 0:
            begin = max(0, end - piece)
            assert STAGE(address)(ctypes.addressof(block), places[0], begin, end) == 0
            end, piece = begin, piece * 2 + 1


def close(got: np.ndarray, want: np.ndarray, dtype: DType, ulps: float, size: float) -> None:
    """Equal but for some units in the last place, of each element or of a size if one is given."""
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if not dtype.is_inexact or ulps == 0:
        np.testing.assert_array_equal(got, want)
        return
    if dtype.is_complex:
        for part in ("real", "imag"):
            real = {64: dtypes.float32, 128: dtypes.float64}[dtype.bits]
            largest = max(size, float(np.abs(want[np.isfinite(want)]).max(initial=0)))
            close(getattr(got, part), getattr(want, part), real, ulps, largest)
        return
    special = ~np.isfinite(want)
    np.testing.assert_array_equal(got[special], want[special])
    info = dtypes.finfo(dtype)
    scale = np.maximum(np.abs(want[~special].astype(np.float64)), size)
    error = np.abs(got[~special].astype(np.float64) - want[~special].astype(np.float64))
    wrong = ~(error <= ulps * info.eps * scale + info.tiny)
    assert not wrong.any(), f"{got[~special][wrong]} should be {want[~special][wrong]}"


def check_same(
    nest: LoopNest,
    arrays: Sequence[np.ndarray],
    values: Mapping[str, Any],
    ulps: float = 4,
    size: float = 0.0,
    only: Sequence[str] = ("host", "short8", "short16", "avx2", "sse2", "scalar"),
) -> None:
    """The machine code of a nest gives what the interpreter gives, errors included."""
    runs = [(t, True) for name, t in targets().items() if name in only]
    runs += [(replace(host(), level=1), False)] if "scalar" in only else []
    try:
        expected = interpret(nest, arrays, values)
    except IndexOutOfRange as error:
        for target, vectors in runs:
            with pytest.raises(IndexOutOfRange, match=f"^{re.escape(str(error))}$"):
                launch_nest(nest, arrays, values, target, vectors)
        return
    for target, vectors in runs:
        got = launch_nest(nest, arrays, values, target, vectors)
        for one, other, buffer in zip(got, expected, nest.outputs, strict=True):
            close(one, other, buffer.dtype, ulps, size)
