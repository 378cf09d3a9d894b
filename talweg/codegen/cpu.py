"""The machine we run on, and LLVM IR -> object code."""

from __future__ import annotations

import functools
import threading
from typing import Any

import llvmlite
from llvmlite import binding

from talweg.schedule.target import Target

_LOCK = threading.Lock()


@functools.cache
def versions() -> str:
    """Return the versions of LLVM and llvmlite, which shape object code too."""
    return f"llvm {'.'.join(map(str, binding.llvm_version_info))} llvmlite {llvmlite.__version__}"


@functools.cache
def host() -> Target:
    """Return the machine we run on."""
    _initialise()
    features = {name for name, on in binding.get_host_cpu_features().items() if on}
    listed = ",".join(f"+{name}" for name in sorted(features))
    return Target(binding.get_process_triple(), binding.get_host_cpu_name(), listed)


@functools.cache
def _initialise() -> None:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()


@functools.cache
def _machine(target: Target) -> Any:
    _initialise()
    found = binding.Target.from_triple(target.triple)
    return found.create_target_machine(
        cpu=target.cpu, features=target.features, opt=target.level, reloc="pic", codemodel="small"
    )


def compile_text(text: str, target: Target) -> bytes:
    """Return the object code of a module of LLVM IR. One thread compiles at a time.

    Raises:
        RuntimeError: when LLVM does not accept the module.
    """
    with _LOCK:
        machine = _machine(target)
        module = binding.parse_assembly(text)
        module.verify()
        return bytes(machine.emit_object(module))
