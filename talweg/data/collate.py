"""From a list of samples to one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.errors import DataError
from talweg.engine.creation import from_numpy
from talweg.engine.functions import FUNCTIONS
from talweg.engine.tensor import Tensor

stack = FUNCTIONS["stack"]


def default_convert(data: Any) -> Any:
    """Turn NumPy arrays and scalars, at any depth of dicts, lists and tuples, into Tensors.

    Everything else is returned as it is; tuples become lists, as in PyTorch.

    >>> tw.data.default_convert({"x": np.arange(2), "name": "a"})
    {'x': tensor([0, 1]), 'name': 'a'}
    """
    if isinstance(data, np.ndarray | np.generic):
        return data if data.dtype.kind in "SUOMm" else from_numpy(np.asarray(data))
    if isinstance(data, Mapping):
        return _like(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(value) for value in data))
    if isinstance(data, tuple):
        return [default_convert(value) for value in data]
    if isinstance(data, Sequence) and not isinstance(data, str | bytes | range):
        return _like(data, [default_convert(value) for value in data])
    return data


def _like(original: Any, items: Any) -> Any:
    """The items in the container type of the original, where that can be made of them."""
    try:
        return type(original)(items)
    except TypeError:
        return items


def default_collate(batch: Sequence[Any]) -> Any:
    """Join samples into one batch: values of the same place are stacked on a new first axis.

    Tensors, NumPy arrays and scalars, and numbers become Tensors (Python floats become float64 and
    ints int64, as in PyTorch). Strings and bytes stay what they are, beside each other. Dicts,
    namedtuples and lists keep their structure, tuples become lists.

    >>> tw.data.default_collate([(1, {"x": 0.5}), (2, {"x": 1.5})])
    [tensor([1, 2]), {'x': tensor([0.5000, 1.5000], dtype=talweg.float64)}]

    Raises:
        DataError: for an empty batch, unequal shapes or lengths, missing keys, or a type that
            cannot be joined; the message says where in the sample and gives what was found.
    """
    if len(batch) == 0:
        raise DataError("an empty batch cannot be collated: it has no samples")
    return _collate(batch, "")


def _collate(batch: Sequence[Any], place: str) -> Any:
    first = batch[0]
    if isinstance(first, Tensor):
        return _stack_tensors(batch, place)
    if isinstance(first, np.ndarray | np.generic):
        return _stack(batch, place)
    if isinstance(first, bool):
        return _stack([_number(x, bool, place) for x in batch], place)
    if isinstance(first, int):
        return _stack([np.asarray(_number(x, int | float, place)) for x in batch], place)
    if isinstance(first, float):
        return _stack([np.float64(_number(x, int | float, place)) for x in batch], place)
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        return _collate_mapping(batch, place)
    if isinstance(first, Sequence):
        return _collate_sequence(batch, place)
    raise DataError(
        f"a batch holds Tensors, NumPy arrays, numbers, strings, dicts and lists, but sample"
        f"{place} is {type(first).__name__}; convert it, or give the DataLoader a collate_fn"
    )


def _number(value: Any, kind: Any, place: str) -> Any:
    if isinstance(value, kind):
        return value
    raise DataError(
        f"sample{place} is a number in the first sample of the batch, but {type(value).__name__} "
        "in another one"
    )


def _stack(batch: Sequence[Any], place: str) -> Tensor:
    arrays = [np.asarray(x) for x in batch]
    if arrays[0].dtype.kind in "SUOMm":
        raise DataError(
            f"sample{place} is an array of {arrays[0].dtype}, which no Tensor can hold; "
            "convert it to numbers, or give the DataLoader a collate_fn"
        )
    _same_shapes([a.shape for a in arrays], place)
    return from_numpy(np.stack(arrays))


def _same_shapes(shapes: Sequence[Any], place: str) -> None:
    other = next((s for s in shapes if s != shapes[0]), None)
    if other is not None:
        raise DataError(
            f"the samples of a batch must be of one shape to be stacked: sample{place} has shape "
            f"{tuple(shapes[0])} once and {tuple(other)} elsewhere; resize or pad the samples, or "
            "give the DataLoader a collate_fn"
        )


def _stack_tensors(batch: Sequence[Any], place: str) -> Tensor:
    for x in batch:
        if not isinstance(x, Tensor):
            raise DataError(
                f"sample{place} is a Tensor in the first sample of the batch, but "
                f"{type(x).__name__} in another one"
            )
    _same_shapes([x.shape for x in batch], place)
    if any(x.requires_grad or x.dtype is dtypes.bfloat16 for x in batch):
        joined: Tensor = stack(batch)
        return joined
    return from_numpy(np.stack([x.numpy() for x in batch]))


def _collate_mapping(batch: Sequence[Any], place: str) -> Any:
    first = batch[0]
    for sample in batch:
        if not isinstance(sample, Mapping) or set(sample) != set(first):
            found = sorted(map(str, sample)) if isinstance(sample, Mapping) else type(sample)
            raise DataError(
                f"the samples of a batch must have the same keys: sample{place} has "
                f"{sorted(map(str, first))} once and {found} elsewhere"
            )
    joined = {key: _collate([s[key] for s in batch], f"{place}[{key!r}]") for key in first}
    return _like(first, joined)


def _collate_sequence(batch: Sequence[Any], place: str) -> Any:
    first = batch[0]
    for sample in batch:
        if not isinstance(sample, Sequence) or len(sample) != len(first):
            found = len(sample) if isinstance(sample, Sequence) else type(sample).__name__
            raise DataError(
                f"the samples of a batch must be of equal length: sample{place} has "
                f"{len(first)} parts once and {found} elsewhere"
            )
    columns = [_collate(part, f"{place}[{i}]") for i, part in enumerate(zip(*batch, strict=True))]
    if hasattr(first, "_fields"):
        return type(first)(*columns)
    return columns if isinstance(first, tuple) else _like(first, columns)
