"""Random Tensors, and the Generator whose counter makes them reproducible.

Key and counter are inputs of the graph: drawing again changes data, never structure.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from talweg.base import dtypes
from talweg.base.dtypes import DType, as_dtype
from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.base.shapes import Shape, size_of
from talweg.base.source import here
from talweg.engine import meta
from talweg.engine.barrier import observed
from talweg.engine.creation import check_device, creator, tensor
from talweg.engine.record import assign
from talweg.engine.state import STATE
from talweg.engine.tensor import Tensor, requires, values, wrap
from talweg.fn import random as draws
from talweg.fn.order import after
from talweg.fn.views import sizes
from talweg.ir.build import Builder
from talweg.ir.node import Node
from talweg.ir.types import tensor_type

_MASK = 2**64 - 1


class Generator:
    """A stream of random numbers: a seed, and a counter that every draw moves on.

    Example:
        >>> import talweg as tw
        >>> a = tw.rand(3, generator=tw.Generator().manual_seed(1))
        >>> b = tw.rand(3, generator=tw.Generator().manual_seed(1))
        >>> tw.equal(a, b)
        True
    """

    unseen = True

    def __init__(self, device: object = None) -> None:
        check_device(device)
        self._seed = 0
        self._offset = 0
        self._lock = threading.Lock()

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of this seed."""
        observed("a generator of random numbers is seeded")
        with self._lock:
            self._seed = int(seed) & _MASK
            self._offset = 0
        return self

    def seed(self) -> int:
        """Start a stream that nobody can foresee, and return its seed."""
        found = int.from_bytes(os.urandom(8), "little") >> 1
        self.manual_seed(found)
        return found

    def initial_seed(self) -> int:
        """Return the seed of the present stream."""
        return self._seed

    def get_state(self) -> Tensor:
        """Return seed and counter as a Tensor for `set_state`."""
        return tensor(np.array([self._seed, self._offset], np.uint64))

    def set_state(self, new_state: Tensor) -> Generator:
        """Continue from a state that `get_state` returned.

        Raises:
            InvalidValue: for anything else.
        """
        array = values(new_state)
        if array.shape != (2,) or array.dtype != np.uint64:
            raise InvalidValue("set_state needs what get_state returned: two uint64")
        observed("a generator of random numbers is set")
        with self._lock:
            self._seed, self._offset = int(array[0]), int(array[1])
        return self

    @property
    def position(self) -> tuple[int, int]:
        """Seed and counter."""
        return self._seed, self._offset

    def take(self, size: int) -> tuple[int, int]:
        """Return seed and counter for a draw of `size` elements, and move the counter past it."""
        with self._lock:
            offset = self._offset
            self._offset = (offset + draws.counters(size)) & _MASK
            return self._seed, offset

    def seek(self, seed: int, offset: int) -> None:
        """Draw from this position on."""
        with self._lock:
            self._seed, self._offset = seed, offset

    def move(self, seed: int, offset: int, count: int) -> bool:
        """Move the counter on from a position; return False if it is no longer there."""
        with self._lock:
            if (self._seed, self._offset) != (seed, offset):
                return False
            self._offset = (offset + count) & _MASK
            return True


DEFAULT = Generator()
DEFAULT.seed()


def manual_seed(seed: int) -> Generator:
    """Start the default stream of this seed; every draw without a generator comes from it."""
    return DEFAULT.manual_seed(seed)


def initial_seed() -> int:
    """Return the seed of the default stream."""
    return DEFAULT.initial_seed()


def seed() -> int:
    """Start a default stream that nobody can foresee, and return its seed."""
    return DEFAULT.seed()


def get_rng_state() -> Tensor:
    """Return the state of the default stream."""
    return DEFAULT.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Continue the default stream from a state."""
    DEFAULT.set_state(new_state)


def source_nodes(generator: Generator | None, size: int) -> tuple[Node, Node]:
    """Return key and counter for a draw of `size` elements, as inputs of the graph."""
    source = generator or DEFAULT
    key, offset = source.take(size)
    capture = STATE.now.capture
    if capture is not None:
        key, offset = capture.drawn(source, key, offset)
    now = STATE.now
    b = now.builder
    place = b.scalar(offset, dtypes.uint64)
    return b.scalar(key, dtypes.uint64), place if now.later is None else after(b, place, now.later)


def _draw(
    make: Callable[[Builder, Node, Node], Node], size: int, generator: Generator | None
) -> Tensor:
    key, offset = source_nodes(generator, size)
    STATE.builder.source = here()
    return wrap(make(STATE.builder, key, offset))


def _drawn(
    make: Callable[..., Node],
    shape: Shape,
    generator: Generator | None,
    dtype: DType | None,
    device: object,
    requires_grad: bool,
    *parameters: Any,
) -> Tensor:
    check_device(device)
    if min(shape, default=0) < 0:
        raise ShapeError(f"sizes must not be negative, got {shape}")
    kind = STATE.builder.default_float if dtype is None else as_dtype(dtype)
    if meta.asked(device):
        return requires(meta.made(tensor_type(kind, shape)), requires_grad)
    made = _draw(lambda b, k, o: make(b, k, o, shape, *parameters, kind), size_of(shape), generator)
    return requires(made, requires_grad)


@creator
def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return values evenly spread over [0, 1): `rand(2, 3)` or `rand((2, 3))`."""
    return _drawn(draws.uniform, sizes(size), generator, dtype, device, requires_grad, 0.0, 1.0)


@creator
def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return values of the standard normal distribution: `randn(2, 3)` or `randn((2, 3))`."""
    return _drawn(draws.normal, sizes(size), generator, dtype, device, requires_grad, 0.0, 1.0)


@creator
def randint(
    low: int = 0,
    high: Any = None,
    size: Any = None,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return whole numbers over [low, high): `randint(9, (2,))` or `randint(3, 9, (2,))`.

    The size may be a keyword: `randint(9, size=(2,))`, `randint(high=9, size=(2,))`.

    Raises:
        InvalidValue: when the range is empty.
    """
    if size is None:
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    check_device(device)
    shape = sizes((size,))
    kind = dtypes.int64 if dtype is None else as_dtype(dtype)
    if meta.asked(device):
        return requires(meta.made(tensor_type(kind, shape)), requires_grad)
    made = _draw(
        lambda b, k, o: draws.randint(b, k, o, int(low), int(high), shape, kind),
        size_of(shape),
        generator,
    )
    return requires(made, requires_grad)


@creator
def randperm(
    n: int,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: object = None,
) -> Tensor:
    """Return 0 … n - 1 in random order."""
    check_device(device)
    kind = dtypes.int64 if dtype is None else as_dtype(dtype)
    if meta.asked(device):
        return meta.made(tensor_type(kind, (n,)))
    return _draw(lambda b, k, o: draws.permutation(b, k, o, n, kind), n, generator)


@creator
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: object = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return normally distributed values; mean and std are numbers (with a size) or Tensors."""
    given = [v for v in (mean, std) if isinstance(v, Tensor)]
    if not given:
        shape = sizes((size if size is not None else (),))
        how = generator, dtype, device, requires_grad
        return _drawn(draws.normal, shape, *how, float(mean), float(std))
    shape = np.broadcast_shapes(*(v.shape for v in given))
    unit: Tensor = randn(shape, generator=generator, dtype=dtype or given[0].dtype)
    scaled: Tensor = unit * std + mean
    return requires(scaled, requires_grad)


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Return 1 with the probability that each element states (or `p`), else 0."""
    chance = rand(input.shape, generator=generator) if p is not None else None
    if chance is not None:
        made: Tensor = (chance < p).to(input.dtype)
        return made
    return _draw(
        lambda b, k, o: draws.bernoulli(b, k, o, input.node(), input.dtype),
        size_of(input.shape),
        generator,
    )


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Return positions along the last dimension, drawn in proportion to the weights in `input`.

    Raises:
        ShapeError, InvalidValue: when the weights or the number of samples do not fit.
    """
    return _draw(
        lambda b, k, o: draws.multinomial(b, k, o, input.node(), num_samples, replacement),
        2 * (size_of(input.shape) + num_samples * (input.shape[0] if input.ndim > 1 else 1)),
        generator,
    )


def _like(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @creator
    def like(input: Tensor, *args: Any, **options: Any) -> Tensor:
        if options.get("dtype") is None:
            options["dtype"] = input.dtype
        if options.get("device") is None and meta.is_meta(input):
            options["device"] = "meta"
        return make(*args, input.shape, **options)

    like.__name__ = f"{make.__name__}_like"
    like.__doc__ = f"`{make.__name__}` in the shape and dtype of another Tensor."
    return like


rand_like = _like(rand)
randn_like = _like(randn)
randint_like = _like(randint)


def _filled(
    self: Tensor, make: Callable[..., Node], a: float, b: float, generator: Generator | None
) -> Tensor:
    if meta.is_meta(self):
        return self
    key, offset = source_nodes(generator, size_of(self.shape))
    node = make(STATE.builder, key, offset, self.shape, float(a), float(b), self.dtype)
    return assign(self, wrap(node), f"{make.__name__}_")


def cauchy_(
    self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Write values of the Cauchy distribution."""
    return _filled(self, draws.cauchy, median, sigma, generator)


def normal_(
    self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Write normally distributed values."""
    return _filled(self, draws.normal, mean, std, generator)


def uniform_(
    self: Tensor, low: float = 0.0, to: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Write values of the uniform distribution on [low, to)."""
    return _filled(self, draws.uniform, low, to, generator)


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Write 1 with probability p (a number or a Tensor), else 0."""
    if meta.is_meta(self):
        return self
    chance = rand(self.shape, generator=generator)
    return assign(self, (chance < p).to(self.dtype), "bernoulli_")


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write exponentially distributed values of rate `lambd`."""
    if meta.is_meta(self):
        return self
    shape = self.shape
    made = _draw(
        lambda b, k, o: draws.exponential(b, k, o, shape, lambd, self.dtype),
        size_of(shape),
        generator,
    )
    return assign(self, made, "exponential_")


def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Write how many trials of success probability p it takes to succeed once."""
    if meta.is_meta(self):
        return self
    shape = self.shape
    made = _draw(
        lambda b, k, o: draws.geometric(b, k, o, shape, p, self.dtype), size_of(shape), generator
    )
    return assign(self, made, "geometric_")


def random_(
    self: Tensor, low: int = 0, high: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Write whole numbers from [low, high); `random_(n)` from [0, n), `random_()` the whole range.

    Raises:
        DTypeError: for bool and complex Tensors.
    """
    if self.dtype.category in ("bool", "complex"):
        raise DTypeError(f"random_ does not fill {self.dtype.name}")
    if meta.is_meta(self):
        return self
    if high is None:
        largest = 2**24 if self.dtype.is_floating_point else dtypes.iinfo(self.dtype).max
        low, high = 0, low or min(largest, 2**63 - 1)
    made = randint(low, high, self.shape, generator=generator)
    return assign(self, made.to(self.dtype), "random_")


def log_normal_(
    self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None
) -> Tensor:
    """Write values whose logarithm is normally distributed."""
    if meta.is_meta(self):
        return self
    drawn = normal(mean, std, self.shape, generator=generator, dtype=self.dtype)
    return assign(self, drawn.exp(), "log_normal_")


def fork_rng(devices: Sequence[Any] = (), enabled: bool = True) -> ForkedStream:
    """Return a context whose draws leave the default stream as it was."""
    return ForkedStream(enabled)


class ForkedStream:
    """A context that puts the default stream back at its end."""

    def __init__(self, enabled: bool) -> None:
        self._state = DEFAULT.get_state() if enabled else None

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        if self._state is not None:
            DEFAULT.set_state(self._state)


PUBLIC: tuple[Callable[..., Any], ...] = (
    *(Generator, manual_seed, initial_seed, seed, get_rng_state, set_rng_state, fork_rng),
    *(rand, randn, randint, randperm, normal, bernoulli, multinomial),
    *(rand_like, randn_like, randint_like),
)
METHODS: dict[str, Callable[..., Any]] = {
    "bernoulli": bernoulli,
    "bernoulli_": bernoulli_,
    "cauchy_": cauchy_,
    "exponential_": exponential_,
    "geometric_": geometric_,
    "log_normal_": log_normal_,
    "multinomial": multinomial,
    "normal_": normal_,
    "random_": random_,
    "uniform_": uniform_,
}
