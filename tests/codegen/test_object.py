"""The cache of object code: what it returns is right, or it returns nothing."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from talweg.base import dtypes as d
from talweg.codegen.cpu import host
from talweg.codegen.object import ObjectCache, compile_nest, compile_nests
from talweg.loops.build import Lowered, NestBuilder
from talweg.loops.text import format_nest
from talweg.runtime.jit import Kernel
from talweg.schedule.loops import Loops


def shifted(amount: int) -> Lowered:
    nest = NestBuilder("shifted")
    x = nest.input("x", d.float32, (4,))
    out = nest.output("out", d.float32, x.shape)
    nest.pointwise([out], lambda i: x[i] + amount)
    return nest.build()


def works(cache: ObjectCache, amount: int = 1) -> bool:
    made = compile_nest(shifted(amount).nest, host(), cache)
    out = np.zeros(4, np.float32)
    Kernel(made.code, made.signature).call([out.ctypes.data, out.ctypes.data], [4])
    return bool((out == amount).all())


def test_a_second_process_finds_what_the_first_one_made(tmp_path: Path) -> None:
    for hits in (0, 1):
        cache = ObjectCache(tmp_path / "new" / "folder", "1.0")
        assert works(cache)
        assert (cache.hits, cache.misses) == (hits, 1 - hits)
    assert oct((tmp_path / "new" / "folder").stat().st_mode)[-3:] == "700"
    cache = ObjectCache(tmp_path / "new" / "folder", "1.0")
    assert works(cache, 2)
    assert cache.hits == 0


def test_a_key_holds_all_that_shapes_the_code(tmp_path: Path) -> None:
    text = format_nest(shifted(1).nest)
    keys = {
        ObjectCache(tmp_path, version).key(t, schedule, target)
        for version in ("1.0", "1.1")
        for t in (text, text + "\n")
        for schedule in (Loops(), Loops(vectors=False))
        for target in (host(), replace(host(), cpu="x"), replace(host(), width=16))
    }
    assert len(keys) == 24
    assert ObjectCache(tmp_path, "1.0").key(text, Loops(), host()).count(b"\n") == 1


def test_a_kernel_that_is_found_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compile_nest(shifted(1).nest, host(), ObjectCache(tmp_path, "1.0"))
    monkeypatch.setattr("talweg.codegen.object.emit", None)
    cache = ObjectCache(tmp_path, "1.0")
    assert compile_nest(shifted(1).nest, host(), cache) == replace(first, loaded=True)
    with pytest.raises(TypeError):
        compile_nest(shifted(1).nest, host(), cache, Loops(vectors=False))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other", "text"])
@pytest.mark.parametrize("kind", ["k", "o"])
def test_a_damaged_or_foreign_entry_is_made_again(tmp_path: Path, kind: str, damage: str) -> None:
    cache = ObjectCache(tmp_path, "1.0")
    assert works(cache)
    (entry,) = tmp_path.glob(f"*.{kind}")
    whole = entry.read_bytes()
    broken = {
        "cut": whole[:-100],
        "flip": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        "empty": b"",
        "other": whole.replace(b"talweg 1.0", b"talweg 9.9").replace(b"kernel_", b"lernel_"),
        "text": b"not an object",
    }[damage]
    assert broken != whole
    entry.write_bytes(broken)
    again = ObjectCache(tmp_path, "1.0")
    assert works(again)
    assert again.hits == 0
    assert entry.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_warned_of_once(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    cache = ObjectCache(blocked / "cache", "1.0")
    with pytest.warns(RuntimeWarning, match="set TALWEG_CACHE_DIR"):
        assert works(cache)
    assert works(cache)  # a second warning would be an error
    assert cache.misses == 2


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind here")
def test_a_read_only_folder_is_read(tmp_path: Path) -> None:
    assert works(ObjectCache(tmp_path, "1.0"))
    tmp_path.chmod(0o500)
    try:
        cache = ObjectCache(tmp_path, "1.0")
        assert works(cache)
        assert cache.hits == 1
    finally:
        tmp_path.chmod(0o700)


def _fill(folder: str) -> None:
    cache = ObjectCache(Path(folder), "1.0")
    for amount in range(4):
        assert works(cache, amount)


def test_processes_may_write_at_once_and_leave_nothing_behind(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(str(tmp_path),)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(list(tmp_path.glob("*.k"))) == len(list(tmp_path.glob("*.o"))) == 4
    assert not list(tmp_path.glob("*.tmp"))
    cache = ObjectCache(tmp_path, "1.0")
    assert all(works(cache, amount) for amount in range(4))
    assert cache.hits == 4


@pytest.mark.parametrize("threads", [1, 3])
def test_nests_compiled_together_share_objects(tmp_path: Path, threads: int) -> None:
    """Kernels of one name, with functions and constants that several of them need."""

    def digamma(amount: int) -> Lowered:
        nest = NestBuilder("shifted")
        x = nest.input("x", d.float32, (4,))
        out = nest.output("out", d.float32, x.shape)
        nest.pointwise([out], lambda i: nest.sin(nest.digamma(x[i] + amount)))
        return nest.build()

    wanted = [(digamma(amount).nest, Loops()) for amount in range(1, 8)]
    cache = ObjectCache(tmp_path, "1.0")
    assert works(cache, 5)
    wanted.append((shifted(5).nest, Loops()))
    made = compile_nests(wanted, host(), cache, threads)
    assert (cache.hits, cache.misses) == (1, 8)
    assert len({m.code for m in made}) < len(made) or threads > 1
    x = np.linspace(0.5, 3, 4, dtype=np.float32)
    for amount, one in enumerate(made[:7], 1):
        out = np.zeros(4, np.float32)
        Kernel(one.code, one.signature).call([x.ctypes.data, out.ctypes.data], [4])
        alone = compile_nest(wanted[amount - 1][0], host())
        expected = np.zeros(4, np.float32)
        Kernel(alone.code, alone.signature).call([x.ctypes.data, expected.ctypes.data], [4])
        np.testing.assert_array_equal(out, expected)
    again = ObjectCache(tmp_path, "1.0")
    found = compile_nests(wanted, host(), again, threads)
    assert found == [replace(m, loaded=True) for m in made]
    assert [m.loaded for m in made] == [False] * 7 + [True]
    assert (again.hits, again.misses) == (8, 0)


@pytest.mark.parametrize("threads", [1, 2])
def test_schedules_that_come_to_the_same_loops_are_one_kernel(threads: int) -> None:
    nest = shifted(3).nest
    schedules = [Loops(), Loops(large=True), Loops(vectors=False)]
    same, large, plain = compile_nests([(nest, s) for s in schedules], host(), threads=threads)
    assert same == large
    assert plain.signature.name != same.signature.name
    x = np.arange(4, dtype=np.float32)
    for made in (large, plain):
        out = np.empty_like(x)
        Kernel(made.code, made.signature).call([x.ctypes.data, out.ctypes.data], [4])
        assert (out == x + 3).all()
