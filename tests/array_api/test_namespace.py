# ruff: noqa: SIM905
"""The array API standard: one call made through NumPy's namespace and through that of a Tensor.

Names come from the standard, 2025.12. The public suite (array-api-tests) tests far more; note 016
says how to run it, and what of it does not pass.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import talweg as tw

xp = tw.ones(1).__array_namespace__()

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
)
NAMES = f"""
    e inf nan newaxis pi {" ".join(DTYPES)}
    arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like
    tril triu zeros zeros_like astype can_cast finfo iinfo isdtype result_type abs acos acosh add
    asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or
    bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor
    floor_divide greater greater_equal hypot imag isfinite isinf isnan less less_equal log log1p
    log2 log10 logaddexp logical_and logical_not logical_or logical_xor maximum minimum multiply
    negative nextafter not_equal positive pow real reciprocal remainder round sign signbit sin sinh
    square sqrt subtract tan tanh trunc take take_along_axis __array_namespace_info__ matmul
    matrix_transpose tensordot vecdot broadcast_arrays broadcast_shapes broadcast_to concat
    expand_dims flip moveaxis permute_dims repeat reshape roll squeeze stack tile unstack argmax
    argmin count_nonzero nonzero searchsorted where isin unique_all unique_counts unique_inverse
    unique_values argsort sort cumulative_prod cumulative_sum max mean min prod std sum var all any
    diff __array_api_version__ linalg fft
""".split()
LINALG = """
    cholesky cross det diagonal eig eigh eigvals eigvalsh inv matmul matrix_norm matrix_power
    matrix_rank matrix_transpose outer pinv qr slogdet solve svd svdvals tensordot trace vecdot
    vector_norm
""".split()
FFT = """
    fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift ifftshift
""".split()
METHODS = """
    T device dtype mT ndim shape size __abs__ __add__ __and__ __array_namespace__ __bool__
    __complex__ __dlpack__ __dlpack_device__ __eq__ __float__ __floordiv__ __ge__ __getitem__ __gt__
    __index__ __int__ __invert__ __le__ __lshift__ __lt__ __matmul__ __mod__ __mul__ __ne__ __neg__
    __or__ __pos__ __pow__ __rshift__ __setitem__ __sub__ __truediv__ __xor__ to_device __iadd__
    __radd__ __isub__ __rsub__ __imul__ __rmul__ __itruediv__ __rtruediv__ __ifloordiv__
    __rfloordiv__ __ipow__ __rpow__ __imod__ __rmod__ __rmatmul__ __iand__ __rand__ __ior__ __ror__
    __ixor__ __rxor__ __ilshift__ __rlshift__ __irshift__ __rrshift__
""".split()


def test_every_name_of_the_standard_is_there() -> None:
    assert [n for n in NAMES if not hasattr(xp, n)] == []
    assert [n for n in LINALG if not hasattr(xp.linalg, n)] == []
    assert [n for n in FFT if not hasattr(xp.fft, n)] == []
    assert [n for n in METHODS if not hasattr(tw.Tensor, n)] == []
    extra = {"of_version"}
    assert set(xp.__all__) - set(NAMES) <= extra
    assert sorted(xp.linalg.__all__) == sorted(LINALG)
    assert sorted(xp.fft.__all__) == sorted(FFT)


def test_the_namespace_is_loaded_when_it_is_asked_for() -> None:
    assert tw.array_api is xp
    assert tw.ones(1).__array_namespace__(api_version="2023.12") is xp
    assert xp.__array_api_version__ == "2025.12"
    with pytest.raises(ValueError, match=r"1999\.01"):
        tw.ones(1).__array_namespace__(api_version="1999.01")


@pytest.mark.parametrize("name", [n for n in NAMES if hasattr(np, n)])
def test_parameters_have_the_names_of_numpys(name: str) -> None:
    """Keywords of the standard are those of NumPy 2, which has more."""
    ours, theirs = getattr(xp, name), getattr(np, name)
    if not inspect.isfunction(ours):
        return
    try:
        known = inspect.signature(theirs).parameters
    except ValueError:  # some of NumPy's functions have none
        return
    named = [
        p.name for p in inspect.signature(ours).parameters.values() if p.kind is p.KEYWORD_ONLY
    ]
    added = {"asarray": {"copy"}, "linspace": set(), "meshgrid": set(), "sort": {"descending"}}
    added |= {"argsort": {"descending"}, "tril": {"k"}, "triu": {"k"}}
    assert set(named) - set(known) - added.get(name, set()) == set()


# -- values, shapes and dtypes: what NumPy's namespace gives for the same call

_random = np.random.RandomState(0)


def _inputs(dtype: str, *shape: int) -> np.ndarray:
    drawn = _random.standard_normal(shape) * 3
    if dtype.startswith("complex"):
        drawn = drawn + 1j * _random.standard_normal(shape)
    elif dtype.startswith(("uint", "bool")):
        drawn = np.abs(drawn)
    return np.asarray(drawn).astype(dtype)


def _plain(value: Any) -> Any:
    """Results as NumPy arrays, also those in tuples."""
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return np.asarray(value.detach() if isinstance(value, tw.Tensor) else value)


def _same(ours: Any, theirs: Any, slack: float = 1.0) -> None:
    mine, wanted = _plain(ours), _plain(theirs)
    if isinstance(wanted, list):
        assert len(mine) == len(wanted)
        for a, b in zip(mine, wanted):
            _same(a, b, slack)
        return
    assert mine.dtype == wanted.dtype
    assert mine.shape == wanted.shape
    if mine.dtype.kind in "fc":
        near = slack * (2e-5 if mine.dtype in (np.float32, np.complex64) else 1e-12)
        np.testing.assert_allclose(mine, wanted, near, near)
    else:
        np.testing.assert_array_equal(mine, wanted)


def _compare(call: Callable[..., Any], *inputs: np.ndarray, slack: float = 1.0) -> None:
    with np.errstate(all="ignore"):
        wanted = call(np, *inputs)
    _same(call(xp, *map(xp.asarray, inputs)), wanted, slack)


REALS = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
WHOLE = ("int8", "int64", "uint8", "uint32")
UNARY = {
    "abs": (*WHOLE, *REALS, *COMPLEX),
    **dict.fromkeys(("ceil", "floor", "trunc"), (*WHOLE, *REALS)),
    **dict.fromkeys(("round", "sign", "square"), (*WHOLE, *REALS, *COMPLEX)),
    **dict.fromkeys(("negative", "positive"), ("int8", "int64", *REALS, *COMPLEX)),
    **dict.fromkeys(("isfinite", "isinf", "isnan"), (*WHOLE, *REALS, *COMPLEX)),
    **dict.fromkeys(("acos", "asin", "acosh", "atanh", "log1p", "log"), COMPLEX),
    **dict.fromkeys(
        ("asinh", "atan", "cos", "cosh", "exp", "expm1", "sin", "sinh", "tan", "tanh"),
        (*REALS, *COMPLEX),
    ),
    "reciprocal": (*REALS, *COMPLEX),
    "signbit": REALS,
    "bitwise_invert": ("bool", *WHOLE),
    "logical_not": ("bool",),
    **dict.fromkeys(("conj", "real", "imag"), COMPLEX),
}


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_array(name: str) -> None:
    for dtype in UNARY[name]:
        _compare(lambda np_, x: getattr(np_, name)(x), _inputs(dtype, 2, 5), slack=5)


PAIRS = (
    *(("int8", "uint8"), ("uint16", "int16"), ("uint32", "int8"), ("uint8", "uint64")),
    *(("float32", "float64"), ("float64", "complex64"), ("int64", "int8")),
)
BINARY = {
    **dict.fromkeys(("add", "multiply", "subtract", "equal", "not_equal"), "iufc"),
    **dict.fromkeys(("greater", "greater_equal", "less", "less_equal"), "iuf"),
    **dict.fromkeys(("maximum", "minimum"), "iuf"),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor"), "iu"),
    **dict.fromkeys(("atan2", "copysign", "hypot", "logaddexp", "nextafter"), "f"),
    "divide": "fc",
    **dict.fromkeys(("floor_divide", "remainder"), "f"),
}


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_arrays_promote_as_the_standard_says(name: str) -> None:
    """Also 0-d arrays count: that is where the standard differs from PyTorch."""
    for (a, b), shape in itertools.product(PAIRS, ((2, 1), ())):
        x, y = _inputs(a, 3), _inputs(b, *shape)
        if np.result_type(x.dtype, y.dtype).kind in BINARY[name]:
            _compare(lambda np_, x, y: getattr(np_, name)(x, y), x, y)


def test_promotion_with_numbers_keeps_the_dtype() -> None:
    for dtype in ("int8", "uint16", "float32", "complex64"):
        x = xp.asarray(_inputs(dtype, 3))
        for found in (
            xp.add(x, 1),
            xp.multiply(2, x),
            xp.maximum(x.real, 1),
            xp.where(x == x, x, 0),
        ):
            assert found.dtype in (x.dtype, x.real.dtype)
    assert xp.result_type(xp.int8, xp.uint8, 1) is xp.int16
    assert xp.result_type(xp.ones((), dtype=xp.float64), xp.float32) is xp.float64
    assert xp.result_type(xp.float32, 1j) is xp.complex64
    with pytest.raises(ValueError, match="at least one"):
        xp.result_type(1, 2)


def test_kinds_of_dtypes() -> None:
    kinds = ("bool", "signed integer", "unsigned integer", "integral", "real floating")
    for name, kind in itertools.product(DTYPES, (*kinds, "complex floating", "numeric")):
        assert xp.isdtype(getattr(xp, name), kind) == np.isdtype(np.dtype(name), kind)
    assert xp.isdtype(xp.int8, ("bool", xp.int8))
    with pytest.raises(ValueError, match="not a kind"):
        xp.isdtype(xp.int8, "whole")
    assert xp.finfo(xp.complex64).dtype is xp.float32
    assert xp.finfo(xp.ones(1, dtype=xp.float64)).eps == np.finfo("float64").eps
    assert xp.iinfo(xp.uint64).max == 2**64 - 1
    assert xp.can_cast(xp.int8, xp.int16)
    assert not xp.can_cast(xp.uint64, xp.int64)
    x = xp.ones(2)
    assert xp.astype(x, xp.float32, copy=False) is x
    assert xp.astype(x, xp.float32) is not x


CALLS: dict[str, Callable[..., Any]] = {
    "arange": lambda np, x: np.arange(1, 8, 3),
    "arange down": lambda np, x: np.arange(5.0, 1, -1.5, dtype=np.float64),
    "arange empty": lambda np, x: np.arange(3, 1),
    "linspace": lambda np, x: np.linspace(0, 1, 5, endpoint=False, dtype=np.float64),
    "eye": lambda np, x: np.eye(3, 4, k=-1, dtype=np.int8),
    "full": lambda np, x: np.full((2, 3), 7, dtype=np.uint16),
    "full_like": lambda np, x: np.full_like(x, 2),
    "meshgrid": lambda np, x: np.meshgrid(x[0, 0], x[0, :, 0]),
    "meshgrid ij": lambda np, x: np.meshgrid(x[0, 0], x[0, :, 0], indexing="ij"),
    "tril": lambda np, x: np.tril(x, k=1),
    "triu": lambda np, x: np.triu(x, k=-1),
    "broadcast_arrays": lambda np, x: np.broadcast_arrays(x, x[:, :1, :1]),
    "broadcast_to": lambda np, x: np.broadcast_to(x[0], (2, 3, 4)),
    "concat": lambda np, x: np.concat([x, np.astype(x, np.complex128)], axis=1),
    "concat flat": lambda np, x: np.concat([x, x[0]], axis=None),
    "stack": lambda np, x: np.stack([x, x], axis=-1),
    "unstack": lambda np, x: np.unstack(x, axis=1),
    "expand_dims": lambda np, x: np.expand_dims(x, axis=(0, -2)),
    "squeeze": lambda np, x: np.squeeze(x[:, :1, :1], axis=(1, -1)),
    "flip": lambda np, x: np.flip(x),
    "flip axes": lambda np, x: np.flip(x, axis=(0, -1)),
    "moveaxis": lambda np, x: np.moveaxis(x, (0, 1), (-1, 0)),
    "permute_dims": lambda np, x: np.permute_dims(x, (2, 0, 1)),
    "repeat": lambda np, x: np.repeat(x, np.asarray([2, 0, 1]), axis=1),
    "repeat flat": lambda np, x: np.repeat(x, 2),
    "reshape": lambda np, x: np.reshape(x, (4, -1), copy=True),
    "roll": lambda np, x: np.roll(x, (1, 2), axis=(0, 2)),
    "roll flat": lambda np, x: np.roll(x, -3),
    "tile": lambda np, x: np.tile(x, (2, 1, 1, 2)),
    "take": lambda np, x: np.take(x, np.asarray([2, -1, 0]), axis=1),
    "take_along_axis": lambda np, x: np.take_along_axis(x, np.argsort(x, axis=1), axis=1),
    "matrix_transpose": lambda np, x: np.matrix_transpose(x),
    "matmul": lambda np, x: np.matmul(x, np.astype(x[0].mT, np.float32)),
    "tensordot": lambda np, x: np.tensordot(x, x, axes=((0, 1), (0, 1))),
    "vecdot": lambda np, x: np.vecdot(x * 1j, x[:, :1], axis=-1),
    "vecdot axis": lambda np, x: np.vecdot(x, x[:1], axis=-2),
    "argmax": lambda np, x: np.argmax(x, axis=1, keepdims=True),
    "argmin": lambda np, x: np.argmin(x),
    "count_nonzero": lambda np, x: np.asarray(np.count_nonzero(np.round(x), axis=(0, 2))),
    "nonzero": lambda np, x: np.nonzero(np.round(x)),
    "searchsorted": lambda np, x: np.searchsorted(np.sort(x[0, 0]), x, side="right"),
    "sorter": lambda np, x: np.searchsorted(x[0, 0], x, sorter=np.argsort(x[0, 0])),
    "where": lambda np, x: np.where(x > 0, x, np.astype(x[0, 0, 0], np.float32)),
    "isin": lambda np, x: np.isin(np.round(x), np.asarray([1.0, 2.0]), invert=True),
    "unique_all": lambda np, x: tuple(np.unique_all(np.round(x))),
    "unique_counts": lambda np, x: tuple(np.unique_counts(np.round(x))),
    "unique_inverse": lambda np, x: tuple(np.unique_inverse(np.round(x))),
    "unique_values": lambda np, x: np.sort(np.unique_values(np.round(x))),
    "sort": lambda np, x: np.sort(x, axis=0),
    "argsort": lambda np, x: np.argsort(np.round(x), axis=1, stable=True),
    "cumulative_sum": lambda np, x: np.cumulative_sum(x, axis=1, include_initial=True),
    "cumulative_prod": lambda np, x: np.cumulative_prod(x[0, 0]),
    "small sums": lambda np, x: np.sum(np.astype(np.abs(x), np.uint8), axis=1),
    "small products": lambda np, x: np.prod(np.astype(x, np.int8), axis=(0, 2), keepdims=True),
    "sum as": lambda np, x: np.sum(x, dtype=np.float32, axis=()),
    "max": lambda np, x: np.max(x, axis=(0, 2)),
    "min": lambda np, x: np.min(x, keepdims=True),
    "mean": lambda np, x: np.mean(x, axis=(1, 2)),
    "std": lambda np, x: np.std(x, axis=(0, 1), correction=1.5),
    "var": lambda np, x: np.var(x, keepdims=True),
    "all": lambda np, x: np.all(np.round(x), axis=(0, 1)),
    "any": lambda np, x: np.any(np.round(x), axis=2, keepdims=True),
    "diff": lambda np, x: np.diff(x, axis=1, n=2, prepend=x[:, :1]),
    "clip": lambda np, x: np.clip(x, -1, x[0]),
    "pow": lambda np, x: np.pow(np.abs(x), np.astype(x[0], np.float32)),
    "subscripts": lambda np, x: (x[::-1, 1:, ::-2], x[..., None, 2:0:-1], x[1, -1, ::-3]),
    "shifts": lambda np, x: np.bitwise_left_shift(np.astype(x, np.int64), 2),
    "fft": lambda np, x: np.fft.fft(x, n=6, axis=1, norm="ortho"),
    "fftn": lambda np, x: np.fft.fftn(x, axes=(0, 2)),
    "irfft": lambda np, x: np.fft.irfft(x, n=7),
    "rfftn": lambda np, x: np.fft.rfftn(x),
    "hfft": lambda np, x: np.fft.hfft(x * 1j, axis=0),
    "fftshift": lambda np, x: np.fft.fftshift(x, axes=1),
    "det": lambda np, x: np.linalg.det(x[:, :, :3]),
    "slogdet": lambda np, x: np.linalg.slogdet(x[:, :, :3]),
    "inv": lambda np, x: np.linalg.inv(x[:, :, :3]),
    "solve": lambda np, x: np.linalg.solve(x[0, :, :3], x[0, :, 3]),
    "solve many": lambda np, x: np.linalg.solve(x[0, :, :3], x),
    "pinv": lambda np, x: np.linalg.pinv(x),
    "matrix_power": lambda np, x: np.linalg.matrix_power(x[:, :, :3], 3),
    "matrix_rank": lambda np, x: np.asarray(np.linalg.matrix_rank(x)),
    "matrix_norm": lambda np, x: np.linalg.matrix_norm(x, ord="nuc", keepdims=True),
    "vector_norm": lambda np, x: np.linalg.vector_norm(x, axis=(0, 2), ord=1),
    "svdvals": lambda np, x: np.linalg.svdvals(x),
    "eigvalsh": lambda np, x: np.linalg.eigvalsh(x @ x.mT),
    "cholesky": lambda np, x: np.linalg.cholesky(x @ x.mT, upper=True),
    "cross": lambda np, x: np.linalg.cross(x[:, :, 0], x[1, :, 1]),
    "diagonal": lambda np, x: np.linalg.diagonal(x, offset=1),
    "outer": lambda np, x: np.linalg.outer(x[0, 0], x[0, :, 0]),
    "trace": lambda np, x: np.linalg.trace(x, offset=-1),
}
INPUT = _inputs("float64", 2, 3, 4)


@pytest.mark.parametrize("name", CALLS)
def test_calls_give_what_numpy_gives(name: str) -> None:
    _compare(CALLS[name], INPUT, slack=50)


def test_decompositions_multiply_to_the_matrix() -> None:
    a = xp.asarray(INPUT[:, :, :3])
    u, s, vh = xp.linalg.svd(xp.asarray(INPUT), full_matrices=False)
    _same((u * s[:, None]) @ vh, INPUT, 50)
    q, r = xp.linalg.qr(a)
    _same(q @ r, INPUT[:, :, :3], 50)
    values, vectors = xp.linalg.eigh(a @ a.mT)
    _same((vectors * values[:, None]) @ vectors.mT, INPUT[:, :, :3] @ INPUT[:, :, :3].mT, 50)
    values, vectors = xp.linalg.eig(a)
    _same(xp.astype(a, xp.complex128) @ vectors, np.asarray(vectors * values[:, None]), 50)


def test_functions_of_the_namespace_are_differentiated() -> None:
    x = xp.asarray(INPUT).requires_grad_()
    xp.sum(xp.square(xp.concat([x, xp.exp(x)]))).backward()
    _same(x.grad, 2 * INPUT + 2 * np.exp(2 * INPUT), 50)
    z = xp.asarray([1.0 + 2.0j, complex(np.inf, 1.0)]).requires_grad_()
    xp.sum(xp.real(xp.exp(z)[:1])).backward()
    assert np.isfinite(np.asarray(z.grad[:1])).all()


def test_signs_and_the_not_a_numbers() -> None:
    x = xp.asarray([-0.0, 0.0, np.nan, -np.inf])
    assert xp.signbit(x).tolist() == [True, False, False, True]
    assert np.isnan(np.asarray(xp.sign(x))[2])
    assert np.isnan(xp.max(x).item())
    assert xp.unique_counts(xp.asarray([np.nan, np.nan, 1.0])).counts.tolist() == [1, 1, 1]
    found = xp.floor_divide(
        xp.asarray([np.inf, -np.inf, 1.0, 7.0]), xp.asarray([2.0, 2, -np.inf, 2])
    )
    assert found.tolist() == [np.inf, -np.inf, 0.0, 3.0]
    assert xp.signbit(found).tolist() == [False, True, True, False]
    assert np.isnan(xp.clip(xp.asarray(np.nan), 0, 1).item())


EDGES = (0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan)


@pytest.mark.parametrize(
    "name", ["exp", "expm1", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "acos"]
)
def test_complex_functions_have_limits(name: str) -> None:
    """NumPy's have those of C99, but for signs that C99 leaves open."""
    z = np.array([complex(a, b) for a in EDGES for b in EDGES])
    with np.errstate(all="ignore"):
        wanted = np.exp(z) - 1 if name == "expm1" else getattr(np, name)(z)
    found = np.asarray(getattr(xp, name)(xp.asarray(z)))
    for at, mine, theirs in zip(z, found, wanted):
        for a, b in ((mine.real, theirs.real), (mine.imag, theirs.imag)):
            assert np.isnan(a) == np.isnan(b), (at, mine, theirs)
            same = np.isclose(abs(a), abs(b)) or np.isnan(a)
            assert same, (at, mine, theirs)


# -- what raises


def _wrong() -> Iterator[tuple[str, Callable[[], Any]]]:
    x = xp.ones((2, 3))
    yield "squeeze", lambda: xp.squeeze(x, axis=0)
    yield "take", lambda: xp.take(x, xp.asarray([0]))
    yield "nonzero", lambda: xp.nonzero(xp.asarray(1))
    yield "matrix_transpose", lambda: xp.matrix_transpose(x[0])
    yield "vecdot", lambda: xp.vecdot(x, x[:, :1])
    yield "outer", lambda: xp.linalg.outer(x, x)
    yield "cumulative_sum", lambda: xp.cumulative_sum(x)
    yield "axes", lambda: xp.sum(x, axis=(0, -2))
    yield "axis", lambda: xp.sum(x, axis=2)
    yield "expand_dims", lambda: xp.expand_dims(x, axis=3)
    yield "cross", lambda: xp.linalg.cross(x, x[:, :1])
    yield "broadcast_shapes", lambda: xp.broadcast_shapes((2,), (3,))
    yield "isin", lambda: xp.isin(1, 2)
    yield "asarray", lambda: xp.asarray(x, dtype=xp.int8, copy=False)
    yield "reshape", lambda: xp.reshape(x.mT, (6,), copy=False)
    yield "finfo", lambda: xp.finfo(xp.int8)
    yield "iinfo", lambda: xp.iinfo(xp.float32)
    yield "to_device", lambda: x.to_device("gpu")
    yield "astype", lambda: xp.astype(x, xp.int8, device="gpu")


@pytest.mark.parametrize(("name", "call"), list(_wrong()), ids=[name for name, _ in _wrong()])
def test_what_the_standard_excludes_raises(name: str, call: Callable[[], Any]) -> None:
    with pytest.raises(tw.TalwegError):
        call()


def test_what_the_library_offers() -> None:
    info = xp.__array_namespace_info__()
    assert info.capabilities()["boolean indexing"]
    assert info.default_device() == xp.ones(1).device == tw.device("cpu")
    assert info.devices() == (tw.device("cpu"),)
    assert info.default_dtypes()["real floating"] is xp.ones(1).dtype
    assert sorted(info.dtypes()) == sorted(DTYPES)
    assert sorted(info.dtypes(kind=("bool", "complex floating"))) == ["bool", *sorted(COMPLEX)]
    x = xp.ones(1)
    assert x.to_device(x.device) is x
    previous = tw.get_default_dtype()
    try:
        tw.set_default_dtype(tw.float64)
        assert info.default_dtypes()["complex floating"] is xp.complex128
        assert xp.linspace(0, 1, 3).dtype is xp.float64
    finally:
        tw.set_default_dtype(previous)


def test_arrays_of_other_objects() -> None:
    assert xp.asarray(2**63).dtype is xp.uint64
    assert xp.asarray(memoryview(b"\x01\x02")).tolist() == [1, 2]
    assert xp.asarray([[True], [False]]).dtype is xp.bool
    a = np.arange(3.0)
    assert np.shares_memory(np.asarray(xp.asarray(a, copy=False), copy=False), a)
    x = xp.ones(2)
    assert xp.asarray(x) is x
    assert xp.asarray(x, copy=True) is not x
