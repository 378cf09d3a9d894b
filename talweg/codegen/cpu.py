"""The machine we run on, and LLVM IR -> object code."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite
from llvmlite import binding
from llvmlite.binding import ffi

from talweg.base.config import read
from talweg.schedule.target import Target

# Of Linux on x86-64: Documentation/arch/x86/xstate.rst.
_ARCH_PRCTL, _REQUEST, _MATRICES = 158, 0x1023, 18


@functools.cache
def versions() -> str:
    """Return the versions of LLVM and llvmlite, which shape object code too."""
    return f"llvm {'.'.join(map(str, binding.llvm_version_info))} llvmlite {llvmlite.__version__}"


@functools.cache
def host() -> Target:
    """Return the machine we run on."""
    _initialise()
    features = {name for name, on in binding.get_host_cpu_features().items() if on}
    if "amx-tile" in features and not matrices_permitted():
        features = {name for name in features if not name.startswith("amx-")}
    listed = ",".join(f"+{name}" for name in sorted(features))
    return Target(binding.get_process_triple(), binding.get_host_cpu_name(), listed)


def matrices_permitted() -> bool:
    """Ask the system for registers that are matrices (AMX); return whether it gives them.

    A process has them from then on, with all of its threads and forks. Only Linux is asked.
    """
    if sys.platform != "linux" or sys.maxsize <= 1 << 32:
        return False
    call = getattr(ctypes.CDLL(None), "syscall", None)
    if call is None:
        return False
    call.restype, call.argtypes = ctypes.c_long, [ctypes.c_long] * 3
    return int(call(_ARCH_PRCTL, _REQUEST, _MATRICES)) == 0


@functools.cache
def _initialise() -> None:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()


class _Machines:
    """LLVM's target machines. One thread uses one at a time, and they are used again."""

    def __init__(self) -> None:
        self.idle: dict[Target, list[Any]] = {}

    @contextmanager
    def one(self, target: Target) -> Iterator[Any]:
        """Lend a machine."""
        idle = self.idle.setdefault(target, [])
        try:
            machine = idle.pop()
        except IndexError:
            machine = self._make(target)
        yield machine
        idle.append(machine)

    def _make(self, target: Target) -> Any:
        _initialise()
        found = binding.Target.from_triple(target.triple)
        return found.create_target_machine(
            cpu=target.cpu, features=target.features, opt=target.level, reloc="pic",
            codemodel="small",
        )  # fmt: skip


_MACHINES = _Machines()


@functools.cache
def checked() -> bool:
    """Return whether LLVM verifies what we write: TALWEG_CHECK=1."""
    return read().check


def compile_text(text: str, target: Target) -> bytes:
    """Return the object code of a module of LLVM IR. Several threads may compile at once.

    Raises:
        RuntimeError: when LLVM does not accept the module.
    """
    with _MACHINES.one(target) as machine:
        module = binding.parse_assembly(text, binding.create_context())
        if checked():
            module.verify()
        with ffi.OutputString() as error:
            memory = _emitter()(machine, module, 1, error)
            if not memory:
                raise RuntimeError(str(error))
        try:
            start = ffi.lib.LLVMPY_GetBufferStart(memory)
            return ctypes.string_at(start, ffi.lib.LLVMPY_GetBufferSize(memory))
        finally:
            ffi.lib.LLVMPY_DisposeMemoryBuffer(memory)


@functools.cache
def _emitter() -> Any:
    """LLVM's code generator. llvmlite lets one thread into LLVM at a time, because modules of one
    context must not be touched at once; ours have contexts of their own.
    """
    name = "LLVMPY_TargetMachineEmitToMemory"
    guarded = getattr(ffi.lib, name)
    free = getattr(ctypes.CDLL(ffi.lib._name), name)
    free.argtypes, free.restype = guarded.argtypes, guarded.restype
    return free
