"""Kernels: object code loaded into the process, and how it is called.

A kernel is a row of stages, which run one after the other. A stage is so many work items, which are
independent of each other:

    i32 name.s(ptr block, ptr scratch, i64 begin, i64 end)

does the items begin to end - 1 of stage s. It returns 0, or n where the n-th check failed. The
block is a row of slots of 8 bytes:

    one address per buffer, inputs before outputs
    the address of shared memory, for what one stage leaves to the next
    the arguments: q and Q are integers, d is a float64; a complex number takes two slots
    numbers that depend on the arguments alone, n in the formats: the signature says them
    room for the values that a failed check reports

`scratch` is memory of the running thread alone. `Kernel.sizes` says how many bytes of scratch and
of shared memory are needed, and for each stage how many items there are and how many are worth a
ticket of their own at least: the signature has an expression for that, or else the object a
function `void name.sizes(ptr block, ptr result)` that writes int64s. Both memories begin at
multiples of 64.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, final
from weakref import WeakValueDictionary

from llvmlite import binding

from talweg.base.errors import DeviceError, IndexOutOfRange
from talweg.base.open import Open

Number: TypeAlias = bool | int | float | complex

ALIGNMENT = 64
_LOCK = threading.Lock()
_NAMES = itertools.count()
_COMPILERS: list[Any] = []


@final
class Library:
    """Object code in memory. It is unloaded when nobody refers to it: who keeps an address of it
    must keep it too.

    Args:
        code: the object.
        digest: its hash.

    Raises:
        DeviceError: when the object is damaged, or needs a symbol from outside.
    """

    def __init__(self, code: bytes, digest: str) -> None:
        self.digest = digest
        self.name = f"talweg{next(_NAMES)}"
        try:
            builder = binding.JITLibraryBuilder().add_object_img(code)
            self._trackers: list[Any] = [builder.link(_compiler(), self.name)]
        except RuntimeError as error:
            raise DeviceError(f"object code cannot be loaded: {error}") from None

    def addresses(self, symbols: Sequence[str]) -> dict[str, int]:
        """Return the addresses of symbols.

        Raises:
            DeviceError: when one is missing, or the code needs a symbol from outside.
        """
        try:
            found = {symbol: _compiler().lookup(self.name, symbol) for symbol in symbols}
        except RuntimeError as error:
            raise DeviceError(f"object code of {symbols[0]} cannot be loaded: {error}") from None
        self._trackers.extend(found.values())
        return {symbol: tracker[symbol] for symbol, tracker in found.items()}


_LIBRARIES: WeakValueDictionary[str, Library] = WeakValueDictionary()


class Signature(Protocol):
    """What must be known to call a kernel: the compiler's description, by its shape alone."""

    @property
    def name(self) -> str:
        """The stem of the symbols."""

    @property
    def buffers(self) -> int:
        """How many addresses it takes."""

    @property
    def formats(self) -> str:
        """One letter of q, Q, d or D (complex) per argument, and n per number behind them."""

    @property
    def messages(self) -> tuple[str, ...]:
        """The texts of the checks, in which {0} stands for the first value."""

    @property
    def reported(self) -> int:
        """How many values a failed check reports at most."""

    @property
    def stages(self) -> int:
        """How many stages it has."""

    @property
    def sizes(self) -> str:
        """Python's text of the sizes and numbers, made of `v`, the values; empty if the object has
        them.
        """


def _compiler() -> Any:
    if not _COMPILERS:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        _COMPILERS.append(binding.create_lljit_compiler())
    return _COMPILERS[0]


def load(code: bytes, anew: bool = False) -> Library:
    """Load object code.

    An object is loaded once, however often it is asked for: it may hold many kernels.

    Args:
        code: the object.
        anew: load it once more, for code that keeps a state of its own.

    Raises:
        DeviceError: when the object is damaged.
    """
    digest = hashlib.sha256(code).hexdigest()
    with _LOCK:
        library = None if anew else _LIBRARIES.get(digest)
        if library is None:
            library = Library(code, digest)
            if not anew:
                _LIBRARIES[digest] = library
        return library


_STAGE = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
)
_SIZES = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


@final
class _Memory:
    """Memory that begins at a multiple of 64 and holds nothing of use."""

    def __init__(self, size: int) -> None:
        self.kept = ctypes.create_string_buffer(size + ALIGNMENT)
        start = ctypes.addressof(self.kept)
        self.address = start + -start % ALIGNMENT
        ctypes.memset(start, 0xFF, size + ALIGNMENT)


@final
class Kernel:
    """A compiled loop nest, ready to be called from any thread.

    Args:
        code: the object code.
        signature: how to call it.

    Attributes:
        digest: the hash of the object code.
        stages: the addresses of the stage functions.
        block_bytes: the size of an argument block.
    """

    def __init__(self, code: bytes, signature: Signature) -> None:
        self.signature = signature
        names = [f"{signature.name}.{n}" for n in range(signature.stages)]
        given = signature.sizes
        self._library = load(code)
        self.digest = self._library.digest
        addresses = self._library.addresses(names if given else [*names, f"{signature.name}.sizes"])
        self.stages = tuple(addresses[name] for name in names)
        self._stages = [_STAGE(address) for address in self.stages]
        self._sizes: Callable[[Sequence[Number]], tuple[int, ...]] | None = None
        if not given:
            self._sizes = self._native(addresses[f"{signature.name}.sizes"])
        self._numbers = signature.formats.count("n")
        slots = signature.formats.replace("D", "dd").replace("n", "q")
        self._packer = struct.Struct(f"={signature.buffers + 1}Q{slots}")
        self.block_bytes = self._packer.size + 8 * signature.reported
        self._complex = "D" in signature.formats

    def pack(
        self,
        memory: Any,
        offset: int,
        addresses: Sequence[int],
        shared: int,
        values: Sequence[Number],
    ) -> None:
        """Write an argument block of `block_bytes` into writable memory.

        Args:
            memory: what `struct.pack_into` writes to.
            offset: where the block begins, in bytes; its address must be a multiple of 8.
            addresses: of the first elements of the buffers, inputs before outputs; row-major.
            shared: the address of the shared memory.
            values: the arguments of the nest, in its order.
        """
        numbers: Sequence[Any] = self._parts(values) if self._complex else values
        derived = self.told(values)[-self._numbers :] if self._numbers else ()
        self._packer.pack_into(memory, offset, *addresses, shared, *numbers, *derived)

    def _parts(self, values: Sequence[Number]) -> list[Any]:
        parts: list[Any] = []
        for letter, value in zip(self.signature.formats.rstrip("n"), values, strict=True):
            parts += [value.real, value.imag] if letter == "D" else [value]
        return parts

    def open_slots(self, values: Sequence[Number]) -> list[tuple[int, int]]:
        """Return the slots of a block for arguments that are open, and the place of each."""
        slot = self.signature.buffers + 1
        found: list[tuple[int, int]] = []
        for letter, value in zip(self.signature.formats.rstrip("n"), values, strict=True):
            if isinstance(value, Open):
                found.append((slot, value.place))
            slot += 2 if letter == "D" else 1
        return found

    def is_sized_by(self, values: Sequence[Number]) -> bool:
        """Whether what is `told` may depend on arguments that are open."""
        text = self.signature.sizes
        opened = [n for n, value in enumerate(values) if isinstance(value, Open)]
        return any(not text or f"v[{n}]" in text for n in opened)

    def sizes(self, values: Sequence[Number]) -> tuple[int, ...]:
        """Return (scratch bytes, shared bytes, items of stage 0, its grain, items of stage 1, …).

        The grain is the smallest number of items that is worth a ticket of its own.
        """
        return self.told(values)[: 2 + 2 * self.signature.stages]

    def told(self, values: Sequence[Number]) -> tuple[int, ...]:
        """Return the sizes, and the numbers that stand behind the arguments."""
        found = self._sizes
        if found is None:  # text of our own compiler, from where the code comes that is run
            found = self._sizes = eval(f"lambda v: {self.signature.sizes}")
        return found(values)

    def _native(self, address: int) -> Callable[[Sequence[Number]], tuple[int, ...]]:
        """Return the function that asks the object's own one."""
        function, form = _SIZES(address), f"={2 + 2 * self.signature.stages}q"

        def sizes(values: Sequence[Number]) -> tuple[int, ...]:
            block = ctypes.create_string_buffer(self.block_bytes)
            self.pack(block, 0, (0,) * self.signature.buffers, 0, values)
            result = ctypes.create_string_buffer(struct.calcsize(form))
            function(ctypes.addressof(block), ctypes.addressof(result))
            return struct.unpack(form, result)

        return sizes

    def reported(self, failed: int, memory: Any, offset: int = 0) -> str:
        """Return the message of a failed check, with the values found in an argument block.

        Args:
            failed: what the stage function returned.
            memory: what `struct.unpack_from` reads from.
            offset: where the block begins, in bytes.
        """
        form = f"={self.signature.reported}q"
        found = struct.unpack_from(form, memory, offset + self._packer.size)
        return self.signature.messages[failed - 1].format(*found)

    def call(self, addresses: Sequence[int], values: Sequence[Number]) -> None:
        """Run all stages in this thread alone, with scratch and shared memory of their own.

        The interpreter's lock is released meanwhile.

        Args:
            addresses: of the first elements of the buffers, inputs before outputs; row-major.
            values: the arguments of the nest, in its order.

        Raises:
            IndexOutOfRange: when a check of the kernel fails, with its message.
        """
        scratch_bytes, shared_bytes, *work = self.sizes(values)
        scratch, shared = _Memory(scratch_bytes), _Memory(shared_bytes)
        block = ctypes.create_string_buffer(self.block_bytes)
        self.pack(block, 0, addresses, shared.address, values)
        for stage, items in zip(self._stages, work[::2], strict=True):
            if items > 0:
                failed = stage(ctypes.addressof(block), scratch.address, 0, items)
                if failed:
                    raise IndexOutOfRange(self.reported(failed, block))
