"""The pool: worker threads that wait in machine code and help whoever runs a stage.

Workers are Python threads inside one foreign call, with the interpreter's lock released, so nothing
but the functions that `codegen.executor` writes is needed. Nobody depends on them: a stage's caller
takes tickets until none is left and then waits for those that others took. One stage has the
workers at a time; whoever finds them taken runs alone.

The memory of a pool is lines of 128 bytes, each a row of 8-byte slots; see `codegen.executor`.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final, final
from weakref import WeakSet

from talweg.runtime.builtin import builtin, interpreter
from talweg.runtime.jit import load

SPIN: Final = 20_000
"""Nanoseconds that a waiting thread spins before it lets others have the processor."""

LINGER: Final = 500_000
"""Nanoseconds that a worker looks for work, letting others run in between, before it sleeps."""

PATIENCE: Final = 200_000
"""Nanoseconds that a caller looks in this way for the end of the last tickets."""

_LINE = 128
_SLEEP, _JOIN, _LIMITS, _SYSTEM, _PYTHON, _LINES = 3, 4, 5, 6, 7, 8
_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "loongarch64": 98, "ppc64le": 221}

_INTERPRETER = (
    "PySequence_Size",
    "PySequence_GetItem",
    "Py_DecRef",
    "PyLong_AsVoidPtr",
    "PyBytes_AsStringAndSize",
    "PyLong_FromLongLong",
    "PyErr_Occurred",
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
)

_BIND = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_PIECES = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
_WORK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
_STOP = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _address(library: Any, name: str) -> int:
    """Return the address of a C function, 0 where there is none."""
    function = getattr(library, name, None)
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


def _system(futex: bool) -> list[int]:
    """Return what the machine code needs of the system: addresses of C functions, and numbers."""
    if sys.platform == "win32":
        library = ctypes.CDLL("ucrtbase")
        return [0, 0, 0, 0, 0, _address(library, "_read"), _address(library, "_write")]
    library = ctypes.CDLL(None)
    wide = sys.maxsize > 1 << 32  # where a time is two numbers of 64 bits
    number = _FUTEX.get(os.uname().machine, 0) if futex and wide and sys.platform == "linux" else 0
    names = ("clock_gettime", "sched_yield", "syscall", "read", "write")
    clock, give, call, reader, writer = (_address(library, name) for name in names)
    return [clock if wide else 0, time.CLOCK_MONOTONIC, give, number, call, reader, writer]


def _serve(work: Callable[[int, int], int], address: int, index: int, _memory: object) -> None:
    """Be a worker. The frame of this call keeps the memory for as long as the thread lives."""
    work(address, index)


@final
class Pool:
    """Worker threads, which start when a plan first needs them.

    Args:
        code: the object code that `codegen.executor.compile_executor` returns.
        threads: how many threads work at once, the caller included.
        spin: as `SPIN`.
        linger: as `LINGER`; not less than `spin`.
        patience: as `PATIENCE`; not less than `spin`.
        futex: whether the system's futex may be used, where there is one, rather than a pipe.

    Attributes:
        threads: as given.
        run: runs a plan; takes the addresses of a table and of an arena, see `runtime.executor`,
            then the addresses of the inputs, the bytes of the scalars, the addresses of the
            outputs. Returns 0, or the number of a record from 1 on, times 2 ** 32, plus that of
            its check that failed, or -1 where there are not as many as the table says.
        pieces: runs kernels once; takes the address of what `codegen.pieces` says, returns 0 unless
            a check fails.
        started: whether the workers have been started, as far as they can be.
    """

    def __init__(
        self,
        code: bytes,
        threads: int,
        spin: int = SPIN,
        linger: int = LINGER,
        patience: int = PATIENCE,
        futex: bool = True,
    ) -> None:
        names = [f"talweg_{name}" for name in ("bind", "call", "pieces", "work", "stop")]
        self._library = load(code, anew=True)
        addresses = self._library.addresses(names)
        self.run: Callable[[int, int, Sequence[int], bytes, Sequence[int]], int]
        self.run = builtin("talweg_call", addresses["talweg_call"])
        self.pieces: Callable[[int], int] = _PIECES(addresses["talweg_pieces"])
        self._work = _WORK(addresses["talweg_work"])
        self._stop = _STOP(addresses["talweg_stop"])
        self.threads = threads
        self._memory = ctypes.create_string_buffer(_LINE * (_LINES + 1))
        start = ctypes.addressof(self._memory)
        self.address = start + -start % _LINE
        self._slots: Any = (ctypes.c_int64 * (_LINE // 8 * _LINES)).from_address(self.address)
        self._limits = [spin, linger, patience]
        self._system = _system(futex)
        self._python = interpreter(*_INTERPRETER)
        self._pipes: list[int] = []
        self._reset()
        _BIND(addresses["talweg_bind"])(self.address)
        _POOLS.add(self)

    def _reset(self) -> None:
        """Begin as a pool without workers."""
        self._lock = threading.Lock()
        self._workers: list[threading.Thread] = []
        self.started = self.threads < 2
        ctypes.memset(self.address, 0, _LINE * _LINES)
        self._put(_LIMITS, [0, 0, *self._limits])
        self._put(_SYSTEM, self._system)
        self._put(_PYTHON, self._python)

    def _put(self, line: int, values: list[int], slot: int = 0) -> None:
        first = _LINE // 8 * line + slot
        self._slots[first : first + len(values)] = values

    def _open_pipes(self) -> None:
        for line in (_SLEEP, _JOIN):
            ends = os.pipe()
            self._pipes += ends
            self._put(line, list(ends), slot=2)

    def _close_pipes(self) -> None:
        while self._pipes:
            os.close(self._pipes.pop())

    def start(self) -> None:
        """Start the workers, if that was not done; warn when the system refuses some of them."""
        with self._lock:
            if self.started:
                return
            self.started = True
            if not self._system[3]:
                self._open_pipes()
            try:
                for index in range(1, self.threads):
                    self._workers.append(self._worker(index))
            except RuntimeError as error:
                warnings.warn(
                    f"only {len(self._workers)} of {self.threads - 1} worker threads could be "
                    f"started: {error}; set TALWEG_NUM_THREADS to ask for fewer",
                    RuntimeWarning,
                    stacklevel=3,
                )
            finally:
                self._put(_LIMITS, [len(self._workers)])

    def _worker(self, index: int) -> threading.Thread:
        thread = threading.Thread(
            target=_serve,
            args=(self._work, self.address, index, self._memory),
            name=f"talweg-{index}",
            daemon=True,
        )
        thread.start()
        return thread

    def close(self) -> None:
        """End the workers; what is run afterwards runs alone."""
        with self._lock:
            self.started = True
            self._put(_LIMITS, [0])
            self._stop(self.address)
            for thread in self._workers:
                thread.join()
            self._workers = []
            self._close_pipes()

    def forget(self) -> None:
        """Begin anew in a child process, where the threads are gone."""
        self._close_pipes()
        self._reset()


_POOLS: WeakSet[Pool] = WeakSet()


def _forget_all() -> None:
    for pool in list(_POOLS):
        pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
