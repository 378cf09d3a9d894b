"""Methods of Tensors that few programs use, and their storages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from talweg.base import dtypes
from talweg.base.dtypes import DType
from talweg.base.errors import InvalidValue
from talweg.engine import conversion, creation
from talweg.engine.functions import FUNCTIONS
from talweg.engine.record import in_place
from talweg.engine.tensor import Tensor
from talweg.frontends.torch import copies, factors, renamed, samples


class Storage:
    """The memory of a Tensor, which Tensors share that are views of each other.

    >>> from talweg.frontends import torch
    >>> x = torch.zeros(2, 3)
    >>> x.untyped_storage().data_ptr() == x[1].untyped_storage().data_ptr()
    True
    >>> x.untyped_storage().nbytes()
    24
    """

    is_cuda = False

    def __init__(self, tensor: Tensor, typed: bool) -> None:
        self._held = tensor._storage
        self.dtype: DType = tensor.dtype
        self._typed = typed

    @property
    def _bytes(self) -> int:
        return self._held.node.type.nbytes

    def data_ptr(self) -> int:
        """Return a number that is equal for equal memory; it is no address."""
        return id(self._held)

    def nbytes(self) -> int:
        """Return how many bytes there are."""
        return self._bytes

    def element_size(self) -> int:
        """Return the bytes of an element."""
        return self.dtype.itemsize if self._typed else 1

    def size(self) -> int:
        """Return how many elements there are; bytes of untyped ones."""
        return self._bytes // self.element_size()

    def __len__(self) -> int:
        return self.size()

    def tolist(self) -> list[Any]:
        """Return the elements."""
        flat = Tensor(0)
        flat._storage = self._held
        found: list[Any] = flat.detach().reshape(-1).tolist()
        return found

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __getitem__(self, index: Any) -> Any:
        return self.tolist()[index]


def storage(self: Tensor) -> Storage:
    """Return the memory of this Tensor and of those it shares it with."""
    return Storage(self, True)


def untyped_storage(self: Tensor) -> Storage:
    """Return the memory of this Tensor, counted in bytes."""
    return Storage(self, False)


def storage_type(self: Tensor) -> type:
    """Return the class of storages."""
    return Storage


def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Return whether both have the same memory, sizes and strides."""
    same = self._storage is tensor._storage and self.shape == tensor.shape
    return same and self.header() == tensor.header()


def set_(
    self: Tensor,
    source: Tensor | None = None,
    storage_offset: int = 0,
    size: Sequence[int] | None = None,
    stride: Sequence[int] | None = None,
) -> Tensor:
    """Let this Tensor have the memory of another, its elements row by row where a size is given.

    Raises:
        InvalidValue: for something else than a Tensor.
    """
    if source is None:
        source = creation.empty(0, dtype=self.dtype)
    if not isinstance(source, Tensor):
        raise InvalidValue("set_ needs a Tensor")
    if size is not None:
        steps = stride if stride is not None else creation.empty(tuple(size)).stride()
        source = source.detach().as_strided(tuple(size), steps, storage_offset)
    self.data = source.detach()
    return self


def as_strided_(self: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """Make this Tensor what `as_strided` returns."""
    self.data = self.detach().as_strided(size, stride, storage_offset or 0)
    return self


def dim_order(self: Tensor, ambiguity_check: Any = False) -> tuple[int, ...]:
    """Return the dimensions in the order in which they stand in memory."""
    steps = self.stride()
    return tuple(sorted(range(self.ndim), key=lambda d: -steps[d]))


def is_shared(self: Tensor) -> bool:
    """Return False: memory belongs to this process."""
    return False


def share_memory_(self: Tensor) -> Tensor:
    """Share the memory with other processes.

    Raises:
        NotImplementedError: always: Tensors that are sent to a process are copied.
    """
    raise NotImplementedError(
        "share_memory_: processes get copies of Tensors; send results back through a queue"
    )


def new_empty_strided(self: Tensor, size: Any, stride: Any, **options: Any) -> Tensor:
    """Return a Tensor of unspecified values, of this dtype unless another is given."""
    return copies.empty_strided(size, stride, **{"dtype": self.dtype, **options})


def polygamma_(self: Tensor, n: int) -> Tensor:
    """Write the n-th derivative of digamma into this Tensor."""
    made: Tensor = self.copy_(FUNCTIONS["polygamma"](n, self))
    return made


def record_stream(self: Tensor, stream: Any) -> None:
    """Do nothing: there are no streams."""


def module_load(self: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """Return what `load_state_dict` puts in the place of this Tensor."""
    made: Tensor = other.detach() if assign else self.detach().copy_(other)
    return made


def to_mkldnn(self: Tensor, dtype: DType | None = None) -> Tensor:
    """Return this Tensor: kernels choose their layouts themselves."""
    return self if dtype is None else self.to(dtype)


def _writing(name: str) -> Callable[..., Tensor]:
    function = getattr(renamed, name, None) or FUNCTIONS.get(name) or getattr(Tensor, name)
    return in_place(function, f"{name}_")


def _as(dtype: DType, name: str) -> Callable[..., Tensor]:
    def method(self: Tensor, memory_format: Any = None) -> Tensor:
        made: Tensor = self.to(dtype)
        return made

    method.__name__ = name
    method.__doc__ = f"Return this Tensor as {dtype.name}; the Tensor itself when it is."
    return method


METHODS_HERE: dict[str, Callable[..., Any]] = {
    **{
        f.__name__: f
        for f in (
            *(storage, untyped_storage, storage_type, is_set_to, set_, as_strided_, dim_order),
            *(is_shared, share_memory_, new_empty_strided, polygamma_, record_stream),
            *(module_load, to_mkldnn, renamed.i0, renamed.mvlgamma, renamed.conj_physical),
            *(factors.geqrf, factors.ormqr, samples.nonzero_static, copies.as_strided_scatter),
        )
    },
    **{f"{n}_": _writing(n) for n in ("i0", "mvlgamma", "conj_physical", "gcd", "lcm")},
    "nextafter_": _writing("nextafter"),
    "narrow_copy": copies.COPIES["narrow_copy"],
    "cfloat": _as(dtypes.complex64, "cfloat"),
    "cdouble": _as(dtypes.complex128, "cdouble"),
    "const_data_ptr": conversion.data_ptr,
}

for _name, _method in METHODS_HERE.items():
    setattr(Tensor, _name, _method)

MODULES: dict[str, dict[str, Any]] = {
    "": {"TypedStorage": Storage, "UntypedStorage": Storage},
    "storage": {"TypedStorage": Storage, "UntypedStorage": Storage},
}
