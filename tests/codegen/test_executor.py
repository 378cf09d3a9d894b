"""The plan loop as code: for every machine, without undefined symbols, at the agreed places.

What it does is tested by running it, in `tests/runtime/test_executor.py` and `test_pool.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from llvmlite import binding

from talweg.codegen.cpu import host
from talweg.codegen.executor import _places, compile_executor, executor_text
from talweg.codegen.object import ObjectCache
from talweg.runtime import executor, pool
from talweg.schedule.target import Target

TRIPLES = {
    "x86_64-unknown-linux-gnu": "",
    "x86_64-pc-windows-msvc": "",
    "x86_64-apple-darwin": "",
    "i686-unknown-linux-gnu": "",
    "aarch64-unknown-linux-gnu": "",
    "arm64-apple-ios": "",
    "armv7-unknown-linux-gnueabihf": "",
    "riscv64-unknown-linux-gnu": "+a",
    "wasm32-unknown-unknown": "",
}


@pytest.mark.parametrize("triple", TRIPLES)
@pytest.mark.parametrize("level", [0, 2])
def test_every_machine_can_have_it(triple: str, level: int) -> None:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    text = executor_text(Target(triple, "", TRIPLES[triple]))
    module = binding.parse_assembly(text)
    module.verify()
    declared = re.findall(r"^declare .*@([\w.]+)\(", text, re.M)
    assert all(name.startswith("llvm.") for name in declared)
    assert "inttoptr" not in text
    assert "ptrtoint" not in text
    machine = binding.Target.from_triple(triple).create_target_machine(
        features=TRIPLES[triple], opt=level, reloc="pic", codemodel="small"
    )
    assert len(machine.emit_object(module)) > 1000


def test_a_spin_loop_tells_the_processor() -> None:
    assert "llvm.x86.sse2.pause" in executor_text(Target("x86_64-unknown-linux-gnu", "", ""))
    assert "llvm.aarch64.hint" in executor_text(Target("aarch64-unknown-linux-gnu", "", ""))


def test_another_process_finds_it_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ObjectCache(tmp_path, "1")
    code = compile_executor(host(), folder)
    assert code == compile_executor(host())
    monkeypatch.setattr("talweg.codegen.executor.compile_text", None)
    assert compile_executor(host(), ObjectCache(tmp_path, "1")) == code


def test_both_halves_mean_the_same_places() -> None:
    places = _places()
    lines = {
        "sleep.sleepers": pool._SLEEP,
        "join.sleepers": pool._JOIN,
        "limits.workers": pool._LIMITS,
        "system.clock": pool._SYSTEM,
        "python.size": pool._PYTHON,
    }
    assert {name: places[name] for name in lines} == {
        name: ("pool", pool._LINE * line) for name, line in lines.items()
    }
    assert max(at for base, at in places.values() if base == "pool") < pool._LINE * pool._LINES
    assert places["table.first"] == ("table", 8 * executor._FIRST)
    assert places["table.arena"] == ("table", 8 * executor._ARENA)
