"""`vmap`: a function mapped over a dimension of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from talweg.base.errors import InvalidValue
from talweg.capture.tree import LEAF, flatten, rebuild
from talweg.engine import random
from talweg.engine.creation import zeros
from talweg.engine.functions import FUNCTIONS, METHODS
from talweg.engine.state import STATE
from talweg.engine.tensor import Tensor

Function = Callable[..., Any]


def opened(value: Any) -> tuple[list[Any], Any]:
    """Return the leaves of a nest, and how they nest; mappings count as dicts."""
    leaves: list[Any] = []
    return leaves, flatten(_plain(value), leaves)


def _plain(value: Any) -> Any:
    """Return a nest whose mappings are dicts."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        inner = [_plain(v) for v in value]
        return type(value)(*inner) if hasattr(value, "_fields") else type(value)(inner)
    return value


def vmap(
    func: Function,
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Function:
    """Return a function that maps `func` over a dimension of its arguments.

    `func` is called for one example after the other; their operations are recorded, and computed
    together.

    Args:
        func: takes one example, and returns a nest of Tensors.
        in_dims: the dimension to map over, for all arguments, or nested as they are; None: an
            argument is the same for all, as keywords are.
        out_dims: where the mapped dimension stands in the results, for all, or nested as they are.
        randomness: "different" numbers for each example, the "same" ones, or "error".
        chunk_size: accepted.

    Raises:
        InvalidValue: without a mapped argument, with sizes that differ, or for random numbers under
            "error".

    >>> import talweg as tw
    >>> x = tw.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> tw.vmap(tw.dot)(x, x).tolist()
    [5.0, 25.0]
    """
    if randomness not in ("error", "different", "same"):
        raise InvalidValue(
            f"vmap: randomness must be 'error', 'different' or 'same', got {randomness!r}"
        )
    if chunk_size is not None and chunk_size < 1:
        raise InvalidValue(f"vmap: chunk_size must be positive, got {chunk_size}")

    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = opened(args)
        spread = _spread(in_dims, args, "in_dims")
        dims = [_mapped_dim(leaf, d) for leaf, d in zip(leaves, spread, strict=True)]
        sizes = {leaf.shape[d] for leaf, d in zip(leaves, dims, strict=True) if d is not None}
        if len(sizes) != 1:
            raise InvalidValue(
                "vmap: one argument at least must be mapped, and the mapped dimensions must be of "
                f"one size; got {sorted(sizes)}"
            )
        (count,) = sizes

        def example(i: int) -> Any:
            parts = [
                leaf
                if d is None
                else METHODS["select"](leaf, d, i)
                if count
                else zeros(_without(leaf.shape, d), dtype=leaf.dtype)
                for leaf, d in zip(leaves, dims, strict=True)
            ]
            return func(*rebuild(structure, parts), **kwargs)

        results = _examples(example, max(count, 1), randomness)
        return _joined(results, count, out_dims)

    return mapped


def _without(shape: Sequence[int], d: int) -> tuple[int, ...]:
    return (*shape[:d], *shape[d + 1 :])


def _spread(dims: Any, value: Any, what: str) -> list[Any]:
    """Return one entry for each leaf of a value; an int or None stands for all leaves below."""
    if dims is None or isinstance(dims, int):
        return [dims] * len(opened(value)[0])
    if isinstance(value, Mapping) and isinstance(dims, Mapping) and set(dims) == set(value):
        return [d for k, v in value.items() for d in _spread(dims[k], v, what)]
    if isinstance(value, list | tuple) and isinstance(dims, list | tuple):
        if len(dims) == len(value):
            return [d for s, v in zip(dims, value, strict=True) for d in _spread(s, v, what)]
    raise InvalidValue(f"vmap: {what}={dims} does not nest as the values do")


def _mapped_dim(leaf: Any, d: Any) -> int | None:
    if d is None:
        return None
    if not isinstance(leaf, Tensor):
        raise InvalidValue(
            f"vmap: in_dim {d} for {type(leaf).__name__}, which is not a Tensor; use None"
        )
    if not -leaf.ndim <= d < leaf.ndim:
        raise InvalidValue(f"vmap: in_dim {d} does not fit a Tensor of shape {leaf.shape}")
    place: int = d % leaf.ndim
    return place


def _examples(example: Function, count: int, randomness: str) -> list[Any]:
    before = random.get_rng_state().tolist() if randomness != "different" else None
    start = random.get_rng_state() if randomness == "same" else None
    results = []
    for i in range(count):
        if start is not None:
            random.set_rng_state(start)
        results.append(_one_of_several(example, i, i + 1 < count))
        if randomness == "error" and i == 0 and random.get_rng_state().tolist() != before:
            raise InvalidValue(
                "vmap: random numbers are drawn while randomness='error'; say 'same' or 'different'"
            )
    return results


def _one_of_several(example: Function, i: int, more: bool) -> Any:
    now = STATE.now
    before = now.repeated
    now.repeated = before or more
    try:
        return example(i)
    finally:
        now.repeated = before


def _joined(results: list[Any], count: int, out_dims: Any) -> Any:
    nests = [opened(r) for r in results]
    structure = nests[0][1]
    for leaf in nests[0][0]:
        if not isinstance(leaf, Tensor):
            raise InvalidValue(f"vmap: the function must return Tensors only, got {type(leaf)}")
    if structure is not LEAF and isinstance(out_dims, tuple) and len(out_dims) == 1:
        dims = _spread(out_dims * (len(structure) - 1), results[0], "out_dims")
    else:
        dims = _spread(out_dims, results[0], "out_dims")
    joined = []
    for i, d in enumerate(dims):
        column = [leaves[i] for leaves, _ in nests]
        if d is None:
            joined.append(column[0])
        elif count:
            joined.append(FUNCTIONS["stack"](column, d))
        else:
            shape = list(column[0].shape)
            shape.insert(d % (len(shape) + 1), 0)
            joined.append(zeros(shape, dtype=column[0].dtype))
    return rebuild(structure, joined)
