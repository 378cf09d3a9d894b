"""The roofline probe: its loops do the work that is counted, and its figures are kept."""

from __future__ import annotations

import ctypes
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talweg.codegen.cpu import compile_text, host
from talweg.codegen.probe import BLOCK, SYMBOLS, accumulators, fma_flops, module_text
from talweg.engine import peak
from talweg.engine.peak import Peak, measured_peak
from talweg.runtime.jit import load
from talweg.schedule.target import Target
from talweg.tools import bench, cli

KNOWN = Peak("a processor", 2, (1e9, 2e9), (3e9, 4e9), (5e9, 6e9), (7e9, 8.25e9))


_KEPT: list[object] = []


@pytest.fixture(scope="module")
def probes() -> dict[str, Any]:
    library = load(compile_text(module_text(host()), host()))
    _KEPT.append(library)
    arguments = {"read": 2, "triad": 3, "stream": 3}
    return {
        name: ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * arguments.get(name, 1))(
            address
        )
        for name, address in library.addresses(SYMBOLS).items()
    }


def aligned(count: int, dtype: str) -> np.ndarray:
    """Random numbers at an address that is a multiple of 4096."""
    space = np.zeros(count + BLOCK, dtype)
    skip = (-space.ctypes.data % BLOCK) // space.itemsize
    part = space[skip : skip + count]
    part[:] = np.random.default_rng(0).integers(-9, 9, count)
    return part


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_accumulator_multiplies_and_adds(probes: dict[str, Any], dtype: str) -> None:
    values = aligned(BLOCK // 4, dtype)
    lanes = host().vector_bytes // values.itemsize
    count = accumulators(host())
    rows = values[: (count + 2) * lanes].reshape(count + 2, lanes).copy()
    expected = rows[:count] * 1.0
    for _ in range(3):
        expected = expected * rows[count] + rows[count + 1]
    probes[f"fma.{dtype}"](3, values.ctypes.data)
    np.testing.assert_array_equal(values[: count * lanes].reshape(count, lanes), expected)
    assert fma_flops(host(), values.itemsize) == 2 * count * lanes


def test_every_byte_is_read(probes: dict[str, Any]) -> None:
    source, sums = aligned(4 * BLOCK, "int32"), aligned(BLOCK, "int32")
    probes["read"](source.nbytes, source.ctypes.data, sums.ctypes.data)
    lanes = 8 * host().vector_bytes // 4
    np.testing.assert_array_equal(sums[:lanes], source.reshape(-1, lanes).sum(0))


@pytest.mark.parametrize("name", ["triad", "stream"])
def test_the_triad_is_one(probes: dict[str, Any], name: str) -> None:
    x, y, to = (aligned(2 * BLOCK, "float32") for _ in range(3))
    probes[name](to.nbytes, to.ctypes.data, x.ctypes.data, y.ctypes.data)
    np.testing.assert_array_equal(to, x + 3 * y)


@pytest.mark.parametrize(
    ("triple", "features", "count"),
    [
        ("x86_64-unknown-linux-gnu", "", 10),
        ("x86_64-unknown-linux-gnu", "+avx,+avx2,+fma", 10),
        ("x86_64-unknown-linux-gnu", "+avx,+avx2,+avx512f,+fma", 20),
    ],
)
def test_probes_stay_in_registers(triple: str, features: str, count: int) -> None:
    target = Target(triple, "", features)
    assert accumulators(target) == count
    assert count + 2 <= (32 if "avx512f" in features else 16)
    assert compile_text(module_text(target), target)


def test_figures_are_kept_and_damaged_ones_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure() -> Peak:
        measured.append(1)
        return KNOWN

    folder = tmp_path / "new" / "cache"
    monkeypatch.setattr(peak, "CONFIG", dataclasses.replace(peak.CONFIG, cache=folder))
    monkeypatch.setattr(peak, "_measure", measure)
    assert measured_peak() == measured_peak() == KNOWN
    assert len(measured) == 1
    assert measured_peak(again=True) == KNOWN
    assert len(measured) == 2
    (file,) = folder.iterdir()
    for damaged in ("", "{", "[]", '{"cpu": "x", "threads": 2}'):
        file.write_text(damaged)
        assert measured_peak() == KNOWN
    assert len(measured) == 6


def test_a_folder_that_cannot_be_written_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "cache"
    monkeypatch.setattr(peak, "CONFIG", dataclasses.replace(peak.CONFIG, cache=folder))
    monkeypatch.setattr(peak, "_measure", lambda: KNOWN)
    assert measured_peak() == KNOWN


def test_measuring_gives_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "TRIALS", 1)
    monkeypatch.setattr(peak, "ROUNDS", 100)
    monkeypatch.setattr(peak, "SMALLEST", peak.WALK)
    monkeypatch.setattr(peak, "LARGEST", peak.WALK)
    found = peak._measure()
    rates = [*found.float32, *found.float64, *found.read, *found.triad]
    assert all(rate > 0 for rate in rates)
    assert found.threads == peak.CONFIG.threads


def test_the_command_shows_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def known(again: bool) -> Peak:
        asked.append(again)
        return KNOWN

    monkeypatch.setattr(bench, "measured_peak", known)
    for arguments in (["bench", "peak"], ["bench", "peak", "--again"]):
        monkeypatch.setattr("sys.argv", ["talweg", *arguments])
        with pytest.raises(SystemExit) as ending:
            cli.main()
        assert not ending.value.code
    out = capsys.readouterr().out
    assert asked == [False, True]
    assert "a processor" in out
    assert "8.2 GB/s" in out
