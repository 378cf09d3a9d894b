"""New Tensors, dtypes and properties beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peer import Inputs, array_of, torch

import talweg as tw

pytestmark = pytest.mark.peer
D = Inputs(7)
X = D.real(3, 4)
DTYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
)


def x(T: Any) -> Any:
    return T.tensor(X)


MADE: dict[str, Callable[[Any], Any]] = {
    "tensor of bools": lambda T: T.tensor([True, False]),
    "tensor of ints": lambda T: T.tensor([[1, 2], [3, 4]]),
    "tensor of mixed": lambda T: T.tensor([1, 2.5, True]),
    "tensor of complex": lambda T: T.tensor([1, 2.5j]),
    "tensor of nothing": lambda T: T.tensor([]),
    "tensor of an array": lambda T: T.tensor(np.arange(3, dtype="int16")),
    "tensor with dtype": lambda T: T.tensor([1.7, -1.7], dtype=T.int32),
    "as_tensor": lambda T: T.as_tensor([1, 2], dtype=T.float64),
    "from_numpy": lambda T: T.from_numpy(np.arange(3.0)),
    "arange": lambda T: T.arange(5),
    "arange floats": lambda T: T.arange(1, 2, 0.25),
    "arange down": lambda T: T.arange(5, 0, -2),
    "arange dtype": lambda T: T.arange(3, dtype=T.float16),
    "linspace": lambda T: T.linspace(0, 1, 7),
    "linspace of one": lambda T: T.linspace(2, 10, 1),
    "linspace of ints": lambda T: T.linspace(0, 10, 5, dtype=T.int32),
    "logspace": lambda T: T.logspace(0, 2, 5),
    "logspace base": lambda T: T.logspace(0, 3, 4, base=2),
    "zeros": lambda T: T.zeros(2, 3),
    "zeros of a size": lambda T: T.zeros((2, 3), dtype=T.int8),
    "ones": lambda T: T.ones(2, 0),
    "full": lambda T: T.full((2, 2), 3),
    "full of floats": lambda T: T.full((2, 2), 3.5),
    "full dtype": lambda T: T.full((2,), True, dtype=T.float64),
    "eye": lambda T: T.eye(3, 4),
    "zeros_like": lambda T: T.zeros_like(x(T)),
    "ones_like": lambda T: T.ones_like(x(T), dtype=T.int32),
    "full_like": lambda T: T.full_like(x(T), 2),
    "new_zeros": lambda T: x(T).new_zeros(2, 3),
    "new_ones": lambda T: x(T).double().new_ones((2,)),
    "new_full": lambda T: x(T).int().new_full((2,), 3),
    "new_tensor": lambda T: x(T).new_tensor([1, 2]),
    "tril_indices": lambda T: T.tril_indices(3, 4, 1),
    "triu_indices": lambda T: T.triu_indices(3, 4, -1),
    "complex": lambda T: T.complex(T.ones(2), T.zeros(2)),
    "type_as": lambda T: T.tensor([1]).type_as(x(T)),
    "byte wraps": lambda T: T.tensor([300, -1]).byte(),
    "char wraps": lambda T: T.tensor([300, -1]).char(),
    "short wraps": lambda T: T.tensor([70_000]).short(),
    "randperm": lambda T: T.randperm(9).sort().values,
    "gumbel_softmax": lambda T: T.nn.functional.gumbel_softmax(x(T), hard=True).sum(1),
    "multinomial": lambda T: T.multinomial(T.tensor([0.0, 1.0, 0.0]), 3, True),
}

TOLD: dict[str, Callable[[Any], Any]] = {
    "empty_like": lambda T: (T.empty_like(x(T)).shape, T.empty(2, 3).shape),
    "new_empty": lambda T: x(T).new_empty(2, 3).shape,
    "sizes": lambda T: (x(T).size(), x(T).size(1), x(T).dim(), x(T).ndim, x(T).numel()),
    "bytes": lambda T: (x(T).element_size(), x(T).itemsize, x(T).nbytes, x(T).nelement()),
    "header": lambda T: (x(T)[1:, 2].stride(), x(T)[1:, 2].storage_offset()),
    "contiguous": lambda T: (x(T).is_contiguous(), x(T).t().is_contiguous()),
    "kinds": lambda T: (x(T).is_floating_point(), x(T).is_complex(), x(T).is_cuda),
    "is_tensor": lambda T: (T.is_tensor(x(T)), T.is_tensor(X)),
    "is_nonzero": lambda T: (T.is_nonzero(T.tensor(3)), T.is_nonzero(T.tensor([0.0]))),
    "allclose": lambda T: (T.allclose(x(T), x(T) + 1e-9), T.allclose(x(T), x(T) + 1)),
    "equal": lambda T: (T.equal(x(T), x(T)), T.equal(x(T), x(T)[0])),
    "numel": lambda T: T.numel(x(T)),
    "tolist": lambda T: x(T).double().tolist(),
    "format": lambda T: f"{T.tensor(1.5):.3f}",
    "finfo": lambda T: [
        getattr(T.finfo(getattr(T, d)), n)
        for d in ("float16", "bfloat16", "float32", "float64")
        for n in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution")
    ],
    "iinfo": lambda T: [
        getattr(T.iinfo(getattr(T, d)), n)
        for d in ("uint8", "int8", "int16", "int32", "int64")
        for n in ("bits", "max", "min")
    ],
    "default dtype": lambda T: str(T.get_default_dtype()).split(".")[1],
    "result_type": lambda T: str(T.result_type(x(T).int(), 2.5)).split(".")[1],
}


@pytest.mark.parametrize("name", MADE)
def test_made_as_pytorch_makes_it(name: str) -> None:
    ours, theirs = MADE[name](tw), MADE[name](torch)
    assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(array_of(ours), array_of(theirs), rtol=1e-6)


@pytest.mark.parametrize("name", TOLD)
def test_told_as_pytorch_tells_it(name: str) -> None:
    assert TOLD[name](tw) == TOLD[name](torch)


@pytest.mark.parametrize("ours", DTYPES)
def test_conversions_allowed(ours: str) -> None:
    for other in DTYPES:
        told = [T.can_cast(getattr(T, ours), getattr(T, other)) for T in (tw, torch)]
        assert told[0] == told[1], other


def test_default_dtype() -> None:
    made = []
    for library in (tw, torch):
        library.set_default_dtype(library.float64)
        try:
            made.append([library.tensor([1.5]), library.ones(2), library.arange(3) / 2])
        finally:
            library.set_default_dtype(library.float32)
    assert [str(t.dtype)[7:] for t in made[0]] == [str(t.dtype)[6:] for t in made[1]]
    assert tw.tensor([1.5]).dtype is tw.float32


@pytest.mark.filterwarnings("ignore:Casting complex values to real:UserWarning")
@pytest.mark.parametrize("start", DTYPES)
def test_casts(start: str) -> None:
    numbers = [0, 1, 5, 100, 127] if "int" in start or start == "bool" else [0, 1, 1.5, 2.5, 127]
    for target in DTYPES:
        signed = [-n for n in numbers] if not (start + target).count("u") else []
        results = [
            T.tensor([*numbers, *signed], dtype=T.float64)
            .to(getattr(T, start))
            .to(getattr(T, target))
            for T in (tw, torch)
        ]
        ours, theirs = (array_of(r) for r in results)
        np.testing.assert_array_equal(ours, theirs, err_msg=target)
