"""Kernels: object code loaded into the process, and how it is called.

A kernel is `i32 kernel(ptr block)`. The block is a row of slots of 8 bytes:

    one address per buffer, inputs before outputs
    the address of scratch memory, of as many bytes as `i64 kernel.scratch(ptr block)` says
    the arguments: q and Q are integers, d is a float64; a complex number takes two slots
    room for the values that a failed check reports

It returns 0, or n where the n-th check failed.
"""

from __future__ import annotations

import ctypes
import itertools
import struct
import threading
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, final

from llvmlite import binding

from talweg.base.errors import DeviceError, IndexOutOfRange

Number: TypeAlias = bool | int | float | complex

ALIGNMENT = 64
_LOCK = threading.Lock()
_NAMES = itertools.count()
_COMPILERS: list[Any] = []

# Kernels that ran out of handles stay loaded until the process ends: unloading a library while
# another thread is inside it would be fatal, and code is small.
_TRACKERS: list[Any] = []


class Signature(Protocol):
    """What must be known to call a kernel: the compiler's description, by its shape alone."""

    @property
    def name(self) -> str:
        """The symbol of the function."""

    @property
    def buffers(self) -> int:
        """How many addresses it takes."""

    @property
    def formats(self) -> str:
        """One letter of q, Q, d or D (complex) per argument."""

    @property
    def messages(self) -> tuple[str, ...]:
        """The texts of the checks, in which {0} stands for the first value."""

    @property
    def reported(self) -> int:
        """How many values a failed check reports at most."""

    @property
    def scratch(self) -> bool:
        """Whether it needs scratch memory."""


def _compiler() -> Any:
    if not _COMPILERS:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        _COMPILERS.append(binding.create_lljit_compiler())
    return _COMPILERS[0]


def load(code: bytes, symbols: Sequence[str]) -> dict[str, int]:
    """Load object code; return the addresses of its symbols. They stay valid.

    Raises:
        DeviceError: when the object is damaged, lacks a symbol or needs one from outside.
    """
    builder = binding.JITLibraryBuilder().add_object_img(code)
    for symbol in symbols:
        builder.export_symbol(symbol)
    with _LOCK:
        try:
            tracker = builder.link(_compiler(), f"talweg{next(_NAMES)}")
        except RuntimeError as error:
            raise DeviceError(f"object code of {symbols[0]} cannot be loaded: {error}") from None
        _TRACKERS.append(tracker)
    return {symbol: tracker[symbol] for symbol in symbols}


@final
class Block:
    """The memory of an argument block; what it holds can be used for more than one call."""

    __slots__ = ("address", "memory")

    def __init__(self, size: int) -> None:
        self.memory = ctypes.create_string_buffer(size)
        self.address = ctypes.addressof(self.memory)


_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)
_SIZE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)


@final
class Kernel:
    """A compiled loop nest, ready to be called from any thread.

    Args:
        code: the object code.
        signature: how to call it.
    """

    def __init__(self, code: bytes, signature: Signature) -> None:
        self.signature = signature
        symbols = [signature.name] + [f"{signature.name}.scratch"] * signature.scratch
        addresses = load(code, symbols)
        self.address = addresses[signature.name]
        self._run = _ENTRY(self.address)
        self._size = _SIZE(addresses[symbols[-1]]) if signature.scratch else None
        slots = signature.formats.replace("D", "dd")
        self._packer = struct.Struct(f"={signature.buffers + 1}Q{slots}")
        self._size_of_block = self._packer.size + 8 * signature.reported
        self._complex = "D" in signature.formats
        self._free: list[Block] = []

    def block(self, addresses: Sequence[int], values: Sequence[Number], scratch: int = 0) -> Block:
        """Return an argument block for `run`.

        Args:
            addresses: of the first elements of the buffers, inputs before outputs; row-major.
            values: the arguments of the nest, in its order.
            scratch: the address of as much memory as `scratch_bytes` says, a multiple of 64.
        """
        block = Block(self._size_of_block)
        self._fill(block, addresses, values, scratch)
        return block

    def _fill(
        self, block: Block, addresses: Sequence[int], values: Sequence[Number], scratch: int
    ) -> None:
        numbers: Sequence[Any] = self._parts(values) if self._complex else values
        self._packer.pack_into(block.memory, 0, *addresses, scratch, *numbers)

    def _parts(self, values: Sequence[Number]) -> list[Any]:
        parts: list[Any] = []
        for letter, value in zip(self.signature.formats, values, strict=True):
            parts += [value.real, value.imag] if letter == "D" else [value]
        return parts

    def scratch_bytes(self, values: Sequence[Number]) -> int:
        """Return how many bytes of scratch memory a call with these arguments needs."""
        if self._size is None:
            return 0
        block = self.block((0,) * self.signature.buffers, values)
        return int(self._size(block.address))

    def run(self, block: Block) -> None:
        """Run the kernel on an argument block. The interpreter's lock is released meanwhile.

        Raises:
            IndexOutOfRange: when a check of the kernel fails, with its message.
        """
        failed = self._run(block.address)
        if failed:
            reported = block.memory.raw[self._packer.size :]
            found = struct.unpack(f"={self.signature.reported}q", reported)
            raise IndexOutOfRange(self.signature.messages[failed - 1].format(*found))

    def call(self, addresses: Sequence[int], values: Sequence[Number]) -> None:
        """Run the kernel on buffers and arguments as `block` takes them.

        Raises:
            IndexOutOfRange: when a check of the kernel fails, with its message.
        """
        if self._size is not None:
            memory = Block(self.scratch_bytes(values) + ALIGNMENT)
            scratch = memory.address + -memory.address % ALIGNMENT
            self.run(self.block(addresses, values, scratch))
            return
        try:
            block = self._free.pop()
        except IndexError:
            block = Block(self._size_of_block)
        self._fill(block, addresses, values, 0)
        try:
            self.run(block)
        finally:
            self._free.append(block)
