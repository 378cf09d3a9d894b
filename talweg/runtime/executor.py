"""Executor: a plan's kernels, laid out once and run with one foreign call.

All that the plan loop reads lies in one piece of memory, rows of 8-byte slots:

    table     pool, records, first, last, moving patches, their number, fixed patches, their
              number, base, scratch, stride, how many inputs, scalars and outputs, then what every
              run writes: the address of the arena, of the inputs, the scalars themselves, the
              addresses of the outputs
    blocks    the argument blocks of the launches
    records   for each stage of each launch: function, block, items, items of a ticket, tickets
    patches   slot, source, offset: *slot = *source + offset. Fixed ones depend on the arena and
              are done when it is not where it was (base), moving ones depend on inputs and
              outputs and are done in every run

The arena is memory of one run: the plan's own part, then shared memory of the launch that runs,
then scratch memory of every thread, `stride` bytes each.
"""

from __future__ import annotations

import ctypes
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple, Protocol, final

import numpy as np

from talweg.base.errors import IndexOutOfRange, InvalidValue
from talweg.runtime.buffer import ALIGNMENT, address_of, take
from talweg.runtime.pool import Pool

TICKETS: Final = 8
"""Tickets of a stage for each thread: a thread that is held up leaves the others work to take."""

_MOST_TICKETS = 0xFFFF

_GUARD: Final = 1 << 14
"""Bytes between memory that different threads write: processors fetch ahead, across pages too."""

_FIRST, _ARENA = 2, 14
_RECORD, _PATCH = 5, 3
_NOWHERE = (1 << 64) - 1


class Kernel(Protocol):
    """What an Executor must know of a kernel; `runtime.jit.Kernel` is one."""

    @property
    def stages(self) -> Sequence[int]:
        """The addresses of the stage functions."""

    @property
    def block_bytes(self) -> int:
        """The size of an argument block."""

    def sizes(self, values: Sequence[Any]) -> tuple[int, ...]:
        """Return bytes of scratch and shared memory, then items and grain of each stage."""

    def pack(
        self,
        memory: Any,
        offset: int,
        addresses: Sequence[int],
        shared: int,
        values: Sequence[Any],
    ) -> None:
        """Write an argument block."""

    def reported(self, failed: int, memory: Any, offset: int = 0) -> str:
        """Return the message of a failed check."""


class Place(NamedTuple):
    """Where an operand lies, at each run of a plan.

    Args:
        source: `arena`; `input` and `output`, whose addresses are given to `run`; or `scalar`, one
            of the 8-byte values given to `run`.
        number: which input, output or scalar.
        offset: bytes from its beginning.
    """

    source: Literal["arena", "input", "output", "scalar"]
    number: int = 0
    offset: int = 0


class Launch(NamedTuple):
    """A kernel with its operands.

    Args:
        kernel: what is run.
        places: of the buffers, inputs before outputs.
        values: the arguments of the nest, in its order.
        label: whatever tells the launch from others.
        sizes: what the kernel says of the values, where that is known.
        shared: where the memory lies that stages leave to each other; that of the run unless given.
        stages: which of them are run.
        given: arguments that are other numbers at each run: the slot of the block where one is
            written, and which input it is. It takes the place of an address there.
    """

    kernel: Kernel
    places: Sequence[Place]
    values: Sequence[Any]
    label: Any = None
    sizes: tuple[int, ...] | None = None
    shared: Place | None = None
    stages: slice = slice(None)
    given: Sequence[tuple[int, int]] = ()


class Step(NamedTuple):
    """A launch that is about to run.

    Args:
        launch: the kernel with its operands.
        addresses: where the operands lie in this run.
        timed: runs it; returns nanoseconds.
        call: how many of them a foreign call takes that runs nothing.
    """

    launch: Launch
    addresses: Sequence[int]
    timed: Callable[[], int]
    call: int

    def run(self) -> int:
        """Run the launch; return the nanoseconds that it took.

        Raises:
            CheckFailed: when a check of the kernel fails.
        """
        return max(self.timed() - self.call, 0)


class Memory(NamedTuple):
    """What an Executor needs: bytes while it runs, and bytes for as long as it is kept."""

    arena: int
    blocks: int


@final
class CheckFailed(IndexOutOfRange):
    """A check of a kernel failed while a plan ran.

    Attributes:
        launch: the number of the launch.
        check: the number of the check, from 0 on.
        label: of the launch.
    """

    launch: int = -1
    check: int = -1
    label: object = None


def _aligned(nbytes: int, guard: int = 0) -> int:
    return (nbytes + guard + ALIGNMENT - 1) & -ALIGNMENT


class _Stage(NamedTuple):
    function: int
    items: int
    step: int
    tickets: int


class _Work(NamedTuple):
    """A launch, and what its kernel says of its values."""

    launch: Launch
    scratch: int
    shared: int
    stages: list[_Stage]
    sizes: tuple[int, ...]


def _measured(launch: Launch, threads: int) -> _Work:
    """Ask a kernel how much memory and work there is; cut its stages into tickets."""
    scratch, shared, *work = sizes = launch.sizes or launch.kernel.sizes(launch.values)
    tickets = min(threads * TICKETS, _MOST_TICKETS)
    stages = []
    rows = list(zip(launch.kernel.stages, work[::2], work[1::2], strict=True))
    for function, items, grain in rows[launch.stages]:
        if items > 0:
            count = -(-items // max(grain, -(-items // tickets), 1))
            if count > 1:  # as many for each thread: all wait for the last one
                count = min(-(-count // threads) * threads, tickets)
            step = -(-items // count)
            stages.append(_Stage(function, items, step, -(-items // step)))
    return _Work(launch, scratch, 0 if launch.shared else shared, stages, sizes)


@final
class _Table:
    """The memory that the plan loop reads, of one run at a time."""

    __slots__ = ("address", "memory", "offset", "slots")

    def __init__(self, slots: int) -> None:
        self.memory = ctypes.create_string_buffer(8 * slots + ALIGNMENT)
        start = ctypes.addressof(self.memory)
        self.offset = -start % ALIGNMENT
        self.address = start + self.offset
        self.slots: Any = (ctypes.c_uint64 * slots).from_address(self.address)

    def put(self, slot: int, values: Sequence[int]) -> int:
        """Write values; return the slot after the last."""
        self.slots[slot : slot + len(values)] = values
        return slot + len(values)


def single_run(
    pool: Pool, columns: Sequence[np.ndarray], block: int, shared: int, inside: int, scratch: int
) -> int:
    """Run pieces in this thread; the interpreter's lock is released.

    Args:
        pool: runs them.
        columns: the numbers of the pieces, where the row of each begins, the rows, addresses by
            place, then the tables; see `codegen.pieces`. All are whole and of 64 bits.
        block: bytes of the largest argument block.
        shared, inside: bytes that kernels leave to their later stages, and pieces to later kernels.
        scratch: how much memory the running thread needs.

    Returns:
        0, or a number that says that a check failed.
    """
    memory = [take(nbytes) for nbytes in (block, scratch, shared, inside)]
    slots = [len(columns[0]), *map(address_of, columns), *[one.address for one in memory]]
    table = (ctypes.c_uint64 * len(slots))(*slots)
    code = pool.pieces(ctypes.addressof(table))
    for one in memory:
        one.home.append(one)
    return code


@final
class Executor:
    """A plan that can be run again and again, from any thread.

    Threads that run one Executor at once each use a table and an arena of their own.

    Args:
        pool: the workers that share in stages of enough items.
        launches: in the order in which they run.
        arena_bytes: how much memory the places of source `arena` lie in.
        inputs: how many addresses of inputs a run is given.
        scalars: how many 8-byte values.
        outputs: how many addresses of outputs.

    Attributes:
        launches: as given.
        sizes: what their kernels say of their values.
        memory: how much of it is needed.
    """

    def __init__(
        self,
        pool: Pool,
        launches: Sequence[Launch],
        arena_bytes: int,
        inputs: int,
        scalars: int,
        outputs: int,
    ) -> None:
        self._pool = pool
        self.launches = tuple(launches)
        self._call = pool.run
        self._work = work = [_measured(launch, pool.threads) for launch in launches]
        self.sizes = [one.sizes for one in work]
        self._split = any(stage.tickets > 1 for one in work for stage in one.stages)
        guard = _GUARD if self._split else 0
        self._shared = _aligned(arena_bytes)
        shared = max((one.shared for one in work), default=0)
        self._scratch = self._shared + _aligned(shared, guard)
        self._stride = _aligned(max((one.scratch for one in work), default=0), guard)
        self._arena = self._scratch + self._stride * (pool.threads if self._split else 1)
        self._counts = (inputs, scalars, outputs)
        self._sources = {
            "arena": (_ARENA, 1),
            "input": (_ARENA + 1, inputs),
            "scalar": (_ARENA + 1 + inputs, scalars),
            "output": (_ARENA + 1 + inputs + scalars, outputs),
        }
        arena = take(self._arena)
        self._home = arena.home
        self._home.append(arena)
        sizes = (-(-one.launch.kernel.block_bytes // 8) for one in work)
        first = _ARENA + 1 + inputs + scalars + outputs
        self._blocks = list(itertools.accumulate(sizes, initial=first))
        self._launches = [n for n, one in enumerate(work) for _ in one.stages]
        table = self._laid_out()
        self._tables = [table]
        self.memory = Memory(self._arena, ctypes.sizeof(table.slots))

    def _source(self, table: _Table, place: Place) -> int:
        """Return the address of the slot that holds the address of an operand."""
        first, count = self._sources[place.source]
        if not 0 <= place.number < count:
            raise InvalidValue(f"{place} names one of {count} only")
        return table.address + 8 * (first + place.number)

    def _laid_out(self) -> _Table:
        """Write the memory that the plan loop reads."""
        operands = sum(len(la.places) + 1 + len(la.given) for la, *_ in self._work)
        end = self._blocks[-1]
        table = _Table(end + _RECORD * len(self._launches) + _PATCH * operands)
        records: list[int] = []
        fixed: list[int] = []
        moving: list[int] = []
        for (launch, _, shared, stages, _), slot in zip(self._work, self._blocks, strict=False):
            block = table.address + 8 * slot
            addresses = [0] * len(launch.places)
            for n, place in enumerate(launch.places):
                source = self._source(table, place)
                if place.source == "scalar":
                    addresses[n] = source + place.offset
                else:
                    patches = fixed if place.source == "arena" else moving
                    patches += (block + 8 * n, source, place.offset)
            if launch.shared is not None:
                source = self._source(table, launch.shared)
                patches = fixed if launch.shared.source == "arena" else moving
                patches += (block + 8 * len(addresses), source, launch.shared.offset)
            elif shared:
                source = self._source(table, Place("arena"))
                fixed += (block + 8 * len(addresses), source, self._shared)
            for own, number in launch.given:
                moving += (block + 8 * own, self._source(table, Place("input", number)), 0)
            at = table.offset + 8 * slot
            launch.kernel.pack(table.memory, at, addresses, 0, launch.values)
            for function, items, step, tickets in stages:
                records += (function, block, items, step, tickets)
        lists = []
        for values, size in ((records, _RECORD), (moving, _PATCH), (fixed, _PATCH)):
            lists += [table.address + 8 * end, len(values) // size]
            end = table.put(end, values)
        head = [self._pool.address, lists[0], 0, *lists[1:], _NOWHERE, self._scratch, self._stride]
        table.put(table.put(0, head), self._counts)
        return table

    def run(self, inputs: Sequence[int], scalars: bytes, outputs: Sequence[int]) -> None:
        """Run the plan. The interpreter's lock is released meanwhile.

        An interrupt from the keyboard is raised when the plan has run to its end.

        Args:
            inputs: addresses.
            scalars: 8 bytes for each scalar.
            outputs: addresses; memory that is written must not be read as an input, unless the
                plan was made so.

        Raises:
            CheckFailed: when a check of a kernel fails: always the first in the order of the
                items. The launches before it have run.
        """
        # What an exception keeps from being put back is freed, and made anew when it is needed.
        table = self._table()
        try:
            arena = self._home.pop()
        except IndexError:
            arena = take(self._arena)
        code = self._call(table.address, arena.address, inputs, scalars, outputs)
        error = self._error(table, code) if code else None
        self._home.append(arena)
        self._tables.append(table)
        if error is not None:
            raise error

    def _table(self) -> _Table:
        """Return a table that no other thread uses; see to it that the workers are there."""
        if self._split and not self._pool.started:
            self._pool.start()
        try:
            return self._tables.pop()
        except IndexError:
            return self._laid_out()

    def _error(self, table: _Table, code: int) -> Exception:
        if code < 0:
            counts = "{} inputs, {} scalars of 8 bytes and {} outputs".format(*self._counts)
            return InvalidValue(f"this plan takes {counts}")
        number = self._launches[(code >> 32) - 1]
        launch = self._work[number].launch
        at = table.offset + 8 * self._blocks[number]
        failed = code & 0xFFFFFFFF
        error = CheckFailed(launch.kernel.reported(failed, table.memory, at))
        error.launch, error.check, error.label = number, failed - 1, launch.label
        return error

    def steps(
        self, inputs: Sequence[int], scalars: bytes, outputs: Sequence[int]
    ) -> Iterator[Step]:
        """Yield the launches one by one, for the caller to run.

        Args:
            inputs, scalars, outputs: as for `run`.
        """
        table = self._table()
        arena = take(self._arena)
        packed = ctypes.create_string_buffer(scalars, max(len(scalars), 1))
        numbers = ctypes.addressof(packed)
        bases: dict[str, Sequence[int]] = {
            "arena": [arena.address],
            "input": inputs,
            "scalar": range(numbers, numbers + len(scalars), 8),
            "output": outputs,
        }

        def timed(first: int, last: int) -> int:
            table.put(_FIRST, [first, last])
            start = time.perf_counter_ns()
            code = self._call(table.address, arena.address, inputs, scalars, outputs)
            nanoseconds = time.perf_counter_ns() - start
            if code:
                raise self._error(table, code)
            return nanoseconds

        call = min(timed(0, 0) for _ in range(8))
        end = 0
        for one in self._work:
            first, end = end, end + len(one.stages)
            launch = one.launch
            addresses = [bases[p.source][p.number] + p.offset for p in launch.places]
            yield Step(launch, addresses, partial(timed, first, end), call)
        table.put(_FIRST, [0, len(self._launches)])
        arena.home.append(arena)
        self._tables.append(table)

    def profile(self, inputs: Sequence[int], scalars: bytes, outputs: Sequence[int]) -> list[int]:
        """Run the plan launch by launch; return the nanoseconds that each took.

        Raises:
            CheckFailed: as `run` does.
        """
        return [step.run() for step in self.steps(inputs, scalars, outputs)]
