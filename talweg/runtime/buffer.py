"""Buffers: memory for arrays, which is used again once nobody refers to it.

Memory that is fresh from the system costs a page fault for every 4 KiB that is touched, more than
many kernels take; so blocks are kept by size and given out again, the last one first. Eight sizes
to every power of two, as in jemalloc, waste at most an eighth.

A reference may die in the middle of anything, so giving back takes no lock and counts nothing: a
list takes and gives single blocks atomically. How much lies unused is looked at before memory is
mapped, for the sum of what is used and unused grows only then.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import sys
from collections import deque
from typing import Any, Final, final

import numpy as np

from talweg.base.errors import InvalidValue

ALIGNMENT: Final = 64
"""Every block begins at a multiple of this: a cache line, and the widest vector."""

_MAPPED = 1 << 20
_HUGE = 1 << 21
_LARGE = 1 << 25
_KNOWN_SIZES = 1 << 16


@final
class Block:
    """A piece of memory: where it begins, what keeps it there, and where it waits when unused."""

    __slots__ = ("address", "home", "memory")

    def __init__(self, address: int, memory: object, home: list[Block] | deque[Block]) -> None:
        self.address = address
        self.memory = memory
        self.home = home


# Where blocks of foreign memory go: a deque of length 0 forgets what is appended.
_AWAY: Final[deque[Block]] = deque(maxlen=0)

# The unused blocks of every size, and where to look for how many bytes.
_unused: dict[int, list[Block]] = {}
_homes: dict[int, list[Block]] = {}


def _physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


# Unused memory is kept up to this. Twice the largest block is always kept, or a plan whose memory
# is larger would have to map it for every run.
_limit = max(1 << 29, _physical() // 8)


def size_class(nbytes: int) -> int:
    """Return the size of the blocks that hold so many bytes: the next of eight to an octave."""
    if nbytes <= 8 * ALIGNMENT:
        return (nbytes + ALIGNMENT - 1) & -ALIGNMENT or ALIGNMENT
    step = 1 << (nbytes - 1).bit_length() - 4
    return (nbytes + step - 1) & -step


def take(nbytes: int) -> Block:
    """Return a block of at least so many bytes, whose contents are undefined.

    Give it back with `block.home.append(block)`; otherwise the system gets its memory.

    Raises:
        MemoryError: when the system has no more.
    """
    try:
        return _homes[nbytes].pop()
    except (KeyError, IndexError):
        pass
    size = size_class(nbytes)
    if len(_homes) > _KNOWN_SIZES:
        _homes.clear()
    home = _homes[nbytes] = _unused.setdefault(size, [])
    try:
        return home.pop()
    except IndexError:
        return _fresh(size, home)


def idle() -> int:
    """Return how many bytes are kept for later use."""
    return sum(size * len(home) for size, home in list(_unused.items()))


def release() -> None:
    """Return all unused memory to the system."""
    for home in list(_unused.values()):
        home.clear()


def _fresh(size: int, home: list[Block]) -> Block:
    global _limit
    try:
        if size < _MAPPED:
            return _allocated(size, home)
        _limit = max(_limit, 2 * size)
        if size >= _LARGE:
            found = _larger(size)
            if found is not None:
                return found
        _trim(_limit - size)
        return _mapped(size, home)
    except (MemoryError, OSError):
        release()
    try:
        return _mapped(size, home)
    except OSError as error:
        raise MemoryError(f"the system has no {size} bytes for a buffer: {error}") from None


def _larger(size: int) -> Block | None:
    """Return an unused block that is up to twice as large; where there is none, drop smaller ones.

    Plans that run in turn, as for training and for testing, so share the memory of the largest.
    """
    for other in sorted(_unused):
        home = _unused[other]
        if size < other <= 2 * size and home:
            try:
                return home.pop()
            except IndexError:
                continue
        elif _LARGE <= other < size:
            home.clear()
    return None


def _allocated(size: int, home: list[Block]) -> Block:
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = memory.ctypes.data
    return Block(start + -start % ALIGNMENT, memory, home)


def _mapped(size: int, home: list[Block]) -> Block:
    """Memory of its own, of large pages where there are some, that a fork does not share."""
    alignment = _HUGE if size >= 2 * _HUGE else ALIGNMENT
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if os.name == "posix" else {}
    memory = mmap.mmap(-1, size + alignment, **private)
    if alignment == _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return Block(start + -start % alignment, memory, home)


def _trim(limit: int) -> None:
    """Drop the older half of every size until little enough is kept, or all if that is too much."""
    while idle() > limit:
        homes = list(_unused.values())
        if all(len(home) < 2 for home in homes):
            release()
        for home in homes:
            del home[: len(home) // 2]


@final
class _Window(ctypes.Array):  # type: ignore[type-arg]
    """Memory as NumPy takes it, of any size; it keeps a Buffer for the arrays that keep it."""

    _type_ = ctypes.c_char
    _length_ = sys.maxsize >> 1
    buffer: Buffer


@final
class Buffer:
    """Memory that begins at a multiple of 64; its contents are undefined at first.

    It may become memory of another Buffer when the last reference to it, and to the arrays made
    of it, is gone.

    Args:
        nbytes: its size.

    Raises:
        MemoryError: when the system has no more.

    Attributes:
        address: of the first byte.
        nbytes: its size.
        stamp: negative where others than this Buffer, and arrays made of it, name the memory. Else
            0, until somebody who keeps what he computed from the contents puts a number of
            `next_stamp` here. Who writes other contents puts 0, before and after.

    >>> buffer = Buffer(24)
    >>> x = buffer.array(np.float32, (2, 3))
    >>> x[:] = 1
    >>> float(x.sum()), buffer.address % 64
    (6.0, 0)
    """

    __slots__ = ("__weakref__", "_block", "address", "nbytes", "stamp")

    _block: Block

    def __init__(self, nbytes: int) -> None:
        try:
            self._block = block = _homes[nbytes].pop()
        except (KeyError, IndexError):
            self._block = block = take(nbytes)
        self.address = block.address
        self.nbytes = nbytes
        self.stamp = 0

    @classmethod
    def of(cls, array: np.ndarray[Any, Any]) -> Buffer:
        """Return the memory of a NumPy array, which is kept and not copied.

        Raises:
            InvalidValue: when the array is not row-major without gaps.
        """
        if not array.flags.c_contiguous:
            raise InvalidValue(
                f"an array of shape {array.shape} and strides {array.strides} is not row-major; "
                "copy it with numpy.ascontiguousarray"
            )
        self = cls.__new__(cls)
        self.address = address_of(array)
        self.nbytes = array.nbytes
        self.stamp = -1
        self._block = Block(self.address, array, _AWAY)
        return self

    def part(self, start: int, nbytes: int) -> Buffer:
        """Return some of the memory, from byte `start` on, as a Buffer that keeps this one."""
        made = Buffer.__new__(Buffer)
        made.address = self.address + start
        made.nbytes = nbytes
        made.stamp = -1
        made._block = Block(made.address, self, _AWAY)
        return made

    def array(self, dtype: Any, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """Return the first elements as an array that shares the memory and keeps it.

        The array can be written, unless the Buffer is that of an array which cannot.

        Args:
            dtype: anything that `numpy.dtype` takes.
            shape: row-major.

        Raises:
            InvalidValue: when the buffer is smaller than that.
        """
        window: Any = _Window.from_address(self.address)
        window.buffer = self
        made: np.ndarray[Any, Any] = np.ndarray(shape, dtype, window)
        if made.nbytes > self.nbytes:
            raise InvalidValue(
                f"{made.dtype} of shape {shape} does not fit into {self.nbytes} bytes"
            )
        memory = self._block.memory
        while isinstance(memory, Buffer):
            memory = memory._block.memory
        if isinstance(memory, np.ndarray) and not memory.flags.writeable:
            made.flags.writeable = False
        return made

    def __del__(self) -> None:
        try:
            block = self._block
        except AttributeError:  # there was no memory to be had
            return
        block.home.append(block)


_stamps = itertools.count(1)


def next_stamp() -> int:
    """Return a number that no contents of a Buffer were stamped with."""
    return next(_stamps)


def address_of(array: np.ndarray[Any, Any]) -> int:
    """Return where the first element of an array lies."""
    exporter: Any = array
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(exporter))  # four times as fast as below
    except (TypeError, ValueError, BufferError):
        return int(array.ctypes.data)
