"""What this machine can reach: arithmetic per second and bytes per second, measured here.

The figures are those of a roofline (Williams, Waterman and Patterson, 2009): no kernel computes
faster than the one or moves data faster than the other. They are measured once for a processor
and kept in the cache folder.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from talweg.base.frozen import frozen
from talweg.codegen.cpu import compile_text, host
from talweg.codegen.probe import BLOCK, SYMBOLS, fma_flops, module_text
from talweg.engine.state import CONFIG
from talweg.runtime.jit import load

TRIALS = 4
ROUNDS = 100_000
SMALLEST, LARGEST = 1 << 26, 1 << 29
WALK = 1 << 24
_CPUINFO = Path("/proc/cpuinfo")
_CACHE_SIZES = Path("/sys/devices/system/cpu/cpu0/cache")


@frozen
class Peak:
    """What a machine reaches at most, on one thread and on all.

    Attributes:
        cpu: the processor.
        threads: how many threads "all" means.
        float32, float64: floating-point operations per second; a multiply-add is two.
        read: bytes per second, read from memory.
        triad: bytes per second of `a = b + s * c`, those of a, b and c counted once; the better
            one of storing through the caches and past them.
    """

    cpu: str
    threads: int
    float32: tuple[float, float]
    float64: tuple[float, float]
    read: tuple[float, float]
    triad: tuple[float, float]


def measured_peak(again: bool = False) -> Peak:
    """Return what this machine reaches, from the cache folder or measured now.

    Measuring takes about two seconds and should not be disturbed by other programs.

    Args:
        again: measure even if the figures are known.
    """
    path = _path()
    found = None if again else _read(path)
    if found is None:
        found = _measure()
        _write(path, found)
    return found


def _path() -> Path:
    target = host()
    key = f"{processor()} {CONFIG.threads} {target.triple} {target.cpu} {target.features}"
    return Path(CONFIG.cache) / f"peak-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def processor() -> str:
    """Return the processor's name as the system gives it, else as LLVM does."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return host().cpu
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for name, _, value in lines if "model name" in name), host().cpu)


def _read(path: Path) -> Peak | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        rates = {name: _pair(fields[name]) for name in ("float32", "float64", "read", "triad")}
        return Peak(cpu=str(fields["cpu"]), threads=int(fields["threads"]), **rates)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _pair(values: Any) -> tuple[float, float]:
    one, all_ = map(float, values)
    return one, all_


def _write(path: Path, peak: Peak) -> None:
    fields = {name: getattr(peak, name) for name in Peak.__match_args__}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(json.dumps(fields), encoding="utf-8")
    except OSError:
        return


def _measure() -> Peak:
    probes = _Probes()
    threads = CONFIG.threads
    rates = {
        "float32": (probes.arithmetic("float32", 1), probes.arithmetic("float32", threads)),
        "float64": (probes.arithmetic("float64", 1), probes.arithmetic("float64", threads)),
        "read": (probes.memory("read", 1), probes.memory("read", threads)),
        "triad": (probes.triad(1), probes.triad(threads)),
    }
    return Peak(cpu=processor(), threads=threads, **rates)


class _Probes:
    """The probes, loaded, and memory for them."""

    def __init__(self) -> None:
        self._library = load(compile_text(module_text(host()), host()))
        addresses = self._library.addresses(SYMBOLS)
        self.functions: dict[str, Callable[..., None]] = {}
        for name, address in addresses.items():
            pointers = {"read": 2, "triad": 3, "stream": 3}.get(name, 1)
            kinds = [ctypes.c_int64] + [ctypes.c_void_p] * pointers
            self.functions[name] = ctypes.CFUNCTYPE(None, *kinds)(address)
        self.bytes = _beyond_caches() // BLOCK * BLOCK
        # Pages that were never written are all one page, and a cache holds it.
        self.space = np.ones(self.bytes + BLOCK, np.uint8)
        self.start = self.space.ctypes.data + -self.space.ctypes.data % BLOCK

    def arithmetic(self, dtype: str, threads: int) -> float:
        """Operations per second of multiply-adds that wait for nothing."""
        run, width = self.functions[f"fma.{dtype}"], host().vector_bytes
        values = [np.full(2 * BLOCK, 0.5, dtype) for _ in range(threads)]
        starts = [v.ctypes.data + -v.ctypes.data % width for v in values]
        flops = fma_flops(host(), values[0].itemsize)
        best = min(_together(threads, lambda n: run(ROUNDS, starts[n])) for _ in range(24 * TRIALS))
        return threads * ROUNDS * flops / best

    def memory(self, name: str, threads: int) -> float:
        """Bytes per second of reading, or of a triad over three parts of the memory.

        The best of many short walks, each over a part that the caches have forgotten.
        """
        run, arrays = self.functions[name], 1 if name == "read" else 3
        whole = self.bytes // arrays // BLOCK * BLOCK
        share = WALK // arrays // threads // BLOCK * BLOCK
        sinks = [np.zeros(2 * BLOCK, np.uint8) for _ in range(threads)]
        walks = whole // (share * threads)

        def part(walk: int, n: int) -> None:
            at = self.start + (walk * threads + n) * share
            places = [at + array * whole for array in range(arrays)]
            if name == "read":
                places.append(sinks[n].ctypes.data + -sinks[n].ctypes.data % BLOCK)
            run(share, *places)

        best = min(
            _together(threads, functools.partial(part, trial % walks))
            for trial in range(TRIALS * walks)
        )
        return arrays * threads * share / best

    def triad(self, threads: int) -> float:
        """The better one of both ways to store."""
        return max(self.memory("triad", threads), self.memory("stream", threads))


def _together(threads: int, part: Callable[[int], None]) -> float:
    """Run `part(n)` on so many threads at once; return the seconds from first start to last end."""
    begins, ends = [0.0] * threads, [0.0] * threads
    ready = threading.Barrier(threads)

    def run(n: int) -> None:
        ready.wait()
        begins[n] = time.perf_counter()
        part(n)
        ends[n] = time.perf_counter()

    others = [threading.Thread(target=run, args=(n,)) for n in range(1, threads)]
    for thread in others:
        thread.start()
    run(0)
    for thread in others:
        thread.join()
    return max(ends) - min(begins)


def _beyond_caches() -> int:
    """How much memory must be walked so that caches hold little of it: four times the largest."""
    largest = 0
    for path in _CACHE_SIZES.glob("index*/size"):
        try:
            text = path.read_text(encoding="ascii").strip()
            largest = max(largest, int(text.rstrip("KM")) << (20 if text.endswith("M") else 10))
        except (OSError, ValueError):
            continue
    return min(max(4 * largest, SMALLEST), LARGEST)
