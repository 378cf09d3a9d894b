"""Batches of sequences of different lengths: padded, or packed without padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from talweg.base.dtypes import float16, float32, float64, int8, int16, int32, int64, uint8
from talweg.base.errors import InvalidValue, ShapeError
from talweg.engine.creation import full, tensor
from talweg.engine.functions import FUNCTIONS
from talweg.engine.tensor import Tensor
from talweg.nn import functional as F

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Sequences of different lengths, step by step, as `pack_sequence` makes them.

    Attributes:
        data: [sum of lengths, *]: the first elements of all sequences, the longest first, then the
            second elements of those that have one, and so on.
        batch_sizes: int64 [T], how many sequences are as long as each step.
        sorted_indices: int64 [N], where the sequences stood before they were sorted by length;
            None if they were not sorted.
        unsorted_indices: int64 [N], the inverse.
    """

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> Self:
        if batch_sizes is None:
            if not (isinstance(data, list | tuple) and len(data) == 2):
                raise InvalidValue("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert the data as `Tensor.to` does; return this object if there is nothing to do."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else type(self)(data, *self[1:])

    def cpu(self) -> Self:
        """Return a copy in main memory; this object if it is there."""
        return self.to("cpu")

    def double(self) -> Self:
        """Convert the data to float64."""
        return self.to(float64)

    def float(self) -> Self:
        """Convert the data to float32."""
        return self.to(float32)

    def half(self) -> Self:
        """Convert the data to float16."""
        return self.to(float16)

    def long(self) -> Self:
        """Convert the data to int64."""
        return self.to(int64)

    def int(self) -> Self:
        """Convert the data to int32."""
        return self.to(int32)

    def short(self) -> Self:
        """Convert the data to int16."""
        return self.to(int16)

    def char(self) -> Self:
        """Convert the data to int8."""
        return self.to(int8)

    def byte(self) -> Self:
        """Convert the data to uint8."""
        return self.to(uint8)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Return the inverse of a permutation, int64 [N]; None for None.

    >>> import talweg as tw
    >>> tw.nn.utils.rnn.invert_permutation(tw.tensor([2, 0, 1])).tolist()
    [1, 2, 0]
    """
    return None if permutation is None else permutation.argsort()


def _listed(lengths: Tensor | Sequence[int]) -> list[int]:
    """Return lengths as numbers.

    Raises:
        ShapeError: unless they are one row.
    """
    given = lengths if isinstance(lengths, Tensor) else tensor(lengths, dtype=int64)
    if given.ndim != 1:
        raise ShapeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {given.ndim}D"
        )
    return [int(n) for n in given.tolist()]


def pack_padded_sequence(
    input: Tensor,
    lengths: Tensor | Sequence[int],
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:
    """Return padded sequences without their padding.

    Args:
        input: [T, N, *], or [N, T, *] with `batch_first`.
        lengths: of the N sequences, from 1 to T; a Tensor is read.
        batch_first: which of the first two dimensions is the batch.
        enforce_sorted: lengths must decrease; otherwise the sequences are sorted.

    Raises:
        ShapeError: when lengths do not fit the input.
        InvalidValue: when a length is below 1, or lengths increase where they must not.

    >>> import talweg as tw
    >>> rnn = tw.nn.utils.rnn
    >>> padded = tw.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
    >>> packed = rnn.pack_padded_sequence(padded, [2, 1, 3], batch_first=True, enforce_sorted=False)
    >>> packed.data.tolist(), packed.batch_sizes.tolist(), packed.sorted_indices.tolist()
    ([4, 1, 3, 5, 2, 6], [3, 2, 1], [2, 0, 1])
    """
    listed = np.array(_listed(lengths), np.int64)
    batch = 0 if batch_first else 1
    if input.ndim < 2:
        raise ShapeError(f"pack_padded_sequence needs [T, N, *], got shape {input.shape}")
    if not input.numel():
        raise ShapeError("Cannot pack empty tensors.")
    if len(listed) != input.shape[batch]:
        raise ShapeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(listed)} "
            f"(batch_size={input.shape[batch]})"
        )
    if listed.min() <= 0:
        raise InvalidValue(f"all lengths have to be greater than 0, got {listed.tolist()}")
    if listed.max() > input.shape[1 - batch]:
        raise ShapeError(f"lengths {listed.tolist()} exceed those of the input, {input.shape}")
    order = None
    if not enforce_sorted:
        order = np.argsort(-listed, kind="stable")
    elif (listed[1:] > listed[:-1]).any():
        raise InvalidValue(
            f"lengths must decrease, got {listed.tolist()}; pass enforce_sorted=False to sort them"
        )
    places, sizes = _places(listed if order is None else listed[order])
    step, row = places if order is None else (places[0], order[places[1]])
    if batch_first:
        index = row * input.shape[1] + step
    else:
        index = step * input.shape[1] + row
    data = input.flatten(0, 1)
    if not np.array_equal(index, np.arange(input.shape[0] * input.shape[1])):
        data = data.index_select(0, tensor(index))
    return PackedSequence(data, tensor(sizes), None if order is None else tensor(order))


def _places(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return step and sequence of every packed row, [2, rows], and the batch's size in each step.

    Args:
        lengths: decreasing.
    """
    steps = np.arange(lengths[0])
    inside = steps[:, None] < lengths
    return np.stack(inside.nonzero()), inside.sum(1)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return packed sequences padded to one length, in their first order, and their lengths.

    Args:
        sequence: what `pack_padded_sequence` made; its sizes are read.
        batch_first: return [N, T, *] instead of [T, N, *].
        padding_value: fills the places behind the ends.
        total_length: T; that of the longest sequence unless given.

    Raises:
        InvalidValue: when total_length is less than that of the longest sequence.

    >>> import talweg as tw
    >>> rnn = tw.nn.utils.rnn
    >>> packed = rnn.pack_sequence([tw.tensor([1, 2]), tw.tensor([3])])
    >>> [t.tolist() for t in rnn.pad_packed_sequence(packed, batch_first=True)]
    [[[1, 2], [3, 0]], [2, 1]]
    """
    sizes = np.array(sequence.batch_sizes.tolist(), np.int64)
    longest = len(sizes)
    if total_length is not None and total_length < longest:
        raise InvalidValue(
            "Expected total_length to be at least the length of the longest sequence in input, but "
            f"got total_length={total_length} and max sequence length being {longest}"
        )
    lengths = (sizes[:, None] > np.arange(sizes[0])).sum(0)
    (step, row), _ = _places(lengths)
    if sequence.unsorted_indices is not None:
        back = np.array(sequence.unsorted_indices.tolist(), np.int64)
        row, lengths = np.argsort(back)[row], lengths[back]
    outer = (len(lengths), total_length or longest)
    index = row * outer[1] + step
    if not batch_first:
        outer = (outer[1], outer[0])
        index = step * outer[1] + row
    data = sequence.data
    if not np.array_equal(index, np.arange(outer[0] * outer[1])):
        empty = full((outer[0] * outer[1], *data.shape[1:]), padding_value, dtype=data.dtype)
        data = empty.index_copy(0, tensor(index), data)
    return data.unflatten(0, outer), tensor(lengths)


def pad_sequence(
    sequences: Tensor | Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Return sequences padded to the length of the longest.

    Args:
        sequences: of shapes [L, *], with any L; the dtype is that of the first.
        batch_first: return [N, T, *] instead of [T, N, *].
        padding_value: fills the places that are left.
        padding_side: "right", behind the ends, or "left".

    Raises:
        InvalidValue: for no sequences, or another side.
        ShapeError: when their shapes differ in more than L.

    >>> import talweg as tw
    >>> rows = [tw.tensor([1, 2, 3]), tw.tensor([4])]
    >>> tw.nn.utils.rnn.pad_sequence(rows, batch_first=True).tolist()
    [[1, 2, 3], [4, 0, 0]]
    """
    if not isinstance(sequences, Iterable):
        raise InvalidValue(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    listed = tuple(sequences)
    if not listed:
        raise InvalidValue("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise InvalidValue(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    shape, dtype = listed[0].shape, listed[0].dtype
    if not shape or any(s.shape[1:] != shape[1:] for s in listed):
        raise ShapeError(
            f"pad_sequence needs sequences [L, *] alike but for L, got {[s.shape for s in listed]}"
        )
    longest = max(s.shape[0] for s in listed)
    padded = [_padded(s.to(dtype), longest, padding_value, padding_side) for s in listed]
    found: Tensor = FUNCTIONS["stack"](padded, 0 if batch_first else 1)
    return found


def _padded(sequence: Tensor, length: int, value: float, side: str) -> Tensor:
    missing = length - sequence.shape[0]
    if not missing:
        return sequence
    ends = (missing, 0) if side == "left" else (0, missing)
    return F.pad(sequence, (0, 0) * (sequence.ndim - 1) + ends, value=value)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False
) -> list[Tensor]:
    """Return the sequences that were padded to [T, N, *], or [N, T, *] with `batch_first`.

    Args:
        padded_sequences: as `pad_sequence` returns them.
        lengths: of the N sequences; a Tensor is read.
        batch_first: which of the first two dimensions is the batch.
    """
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [row[:n] for row, n in zip(rows, _listed(lengths), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Return sequences of different lengths packed.

    Args:
        sequences: of shapes [L, *], with any L.
        enforce_sorted: lengths must decrease; otherwise the sequences are sorted.

    >>> import talweg as tw
    >>> packed = tw.nn.utils.rnn.pack_sequence([tw.tensor([1, 2, 3]), tw.tensor([4, 5])])
    >>> packed.data.tolist(), packed.batch_sizes.tolist()
    ([1, 4, 2, 5, 3], [2, 2, 1])
    """
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Return the sequences that were packed, in their first order."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
