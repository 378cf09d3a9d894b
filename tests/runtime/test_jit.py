"""Loading object code and calling kernels: layout of the block, errors, threads."""

from __future__ import annotations

import gc
import struct
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from talweg.base.errors import DeviceError, IndexOutOfRange
from talweg.codegen.cpu import compile_text, host
from talweg.runtime.jit import Kernel, load

# out[0] = a + b.real + b.imag; fails with (a, 77) where a is 13, by its second check.
# touch: two stages; the first writes the address of its scratch, the last byte of shared memory and
# the sum of its items; the second adds the number of its items.
SOURCE = """
define i32 @sum.0(ptr %block, ptr %scratch, i64 %begin, i64 %end) {
  %out = load ptr, ptr %block
  %pa = getelementptr i64, ptr %block, i64 2
  %pr = getelementptr i64, ptr %block, i64 3
  %pi = getelementptr i64, ptr %block, i64 4
  %p0 = getelementptr i64, ptr %block, i64 5
  %p1 = getelementptr i64, ptr %block, i64 6
  %a = load i64, ptr %pa
  %r = load double, ptr %pr
  %i = load double, ptr %pi
  %d = sitofp i64 %a to double
  %s = fadd double %d, %r
  %t = fadd double %s, %i
  store double %t, ptr %out
  %bad = icmp eq i64 %a, 13
  br i1 %bad, label %fail, label %ok
fail:
  store i64 %a, ptr %p0
  store i64 77, ptr %p1
  ret i32 2
ok:
  ret i32 0
}
define void @sum.sizes(ptr %block, ptr %result) {
  store i64 0, ptr %result
  %p1 = getelementptr i64, ptr %result, i64 1
  store i64 0, ptr %p1
  %p2 = getelementptr i64, ptr %result, i64 2
  store i64 1, ptr %p2
  %p3 = getelementptr i64, ptr %result, i64 3
  store i64 1, ptr %p3
  ret void
}
define i32 @touch.0(ptr %block, ptr %scratch, i64 %begin, i64 %end) {
  %where = load ptr, ptr %block
  store ptr %scratch, ptr %where
  %ps = getelementptr i64, ptr %block, i64 1
  %shared = load ptr, ptr %ps
  %pn = getelementptr i64, ptr %block, i64 2
  %n = load i64, ptr %pn
  %last = sub i64 %n, 1
  %top = getelementptr i8, ptr %shared, i64 %last
  store i8 1, ptr %top
  %low = getelementptr i8, ptr %scratch, i64 %last
  store i8 1, ptr %low
  %p1 = getelementptr i64, ptr %where, i64 1
  store ptr %shared, ptr %p1
  %count = sub i64 %end, %begin
  %p2 = getelementptr i64, ptr %where, i64 2
  store i64 %count, ptr %p2
  ret i32 0
}
define i32 @touch.1(ptr %block, ptr %scratch, i64 %begin, i64 %end) {
  %where = load ptr, ptr %block
  %count = sub i64 %end, %begin
  %p2 = getelementptr i64, ptr %where, i64 2
  %old = load i64, ptr %p2
  %hundred = mul i64 %count, 100
  %new = add i64 %old, %hundred
  store i64 %new, ptr %p2
  ret i32 0
}
define void @touch.sizes(ptr %block, ptr %result) {
  %pn = getelementptr i64, ptr %block, i64 2
  %n = load i64, ptr %pn
  store i64 %n, ptr %result
  %p1 = getelementptr i64, ptr %result, i64 1
  store i64 %n, ptr %p1
  %p2 = getelementptr i64, ptr %result, i64 2
  store i64 7, ptr %p2
  %p3 = getelementptr i64, ptr %result, i64 3
  store i64 2, ptr %p3
  %p4 = getelementptr i64, ptr %result, i64 4
  store i64 %n, ptr %p4
  %p5 = getelementptr i64, ptr %result, i64 5
  store i64 1, ptr %p5
  ret void
}
"""


@dataclass(frozen=True)
class Call:
    name: str = "sum"
    buffers: int = 1
    formats: str = "qD"
    messages: tuple[str, ...] = ("first", "{0} of {1}")
    reported: int = 2
    stages: int = 1
    sizes: str = ""


@pytest.fixture(scope="module")
def code() -> bytes:
    return compile_text(SOURCE, host())


def test_arguments_stand_where_kernels_look_for_them(code: bytes) -> None:
    kernel = Kernel(code, Call())
    out = np.zeros(1)
    kernel.call([out.ctypes.data], [5, 0.5 + 2j])
    assert out[0] == 7.5
    memory = bytearray(200)
    kernel.pack(memory, 96, [out.ctypes.data], 5, [6, 1 + 3j])
    assert kernel.block_bytes == 7 * 8
    assert struct.unpack_from("=QQqdd", memory, 96) == (out.ctypes.data, 5, 6, 1, 3)


def test_a_failed_check_is_raised_with_its_values(code: bytes) -> None:
    kernel, out = Kernel(code, Call()), np.zeros(1)
    with pytest.raises(IndexOutOfRange, match=r"^13 of 77$"):
        kernel.call([out.ctypes.data], [13, 0])
    kernel.call([out.ctypes.data], [14, 0])
    assert out[0] == 14
    memory = bytes(96) + struct.pack("=5q2q", *range(5), 8, 9)
    assert kernel.reported(2, memory, 96) == "8 of 9"
    assert kernel.reported(1, memory, 96) == "first"


def test_stages_follow_each_other_and_memory_is_aligned(code: bytes) -> None:
    kernel = Kernel(code, Call(name="touch", formats="q", reported=0, stages=2))
    where = np.zeros(3, np.uint64)
    for size in (1, 64, 100_000):
        assert kernel.sizes([size]) == (size, size, 7, 2, size, 1)
        kernel.call([where.ctypes.data], [size])
        assert where[0] % 64 == where[1] % 64 == 0
        assert where[2] == 7 + 100 * size
    assert len(set(kernel.stages)) == 2


def test_sizes_may_be_an_expression_of_the_arguments(code: bytes) -> None:
    call = Call(name="touch", formats="q", reported=0, stages=2, sizes="(v[0], 128, 3, 1, 1, 1)")
    kernel, where = Kernel(code, call), np.zeros(3, np.uint64)
    assert kernel.sizes([5]) == (5, 128, 3, 1, 1, 1)
    kernel.call([where.ctypes.data], [5])
    assert where[2] == 3 + 100


def test_a_stage_without_items_is_not_run(code: bytes) -> None:
    kernel = Kernel(code, Call(name="touch", formats="q", reported=0, stages=2))
    where = np.zeros(3, np.uint64)
    kernel.call([where.ctypes.data], [0])
    assert where[2] == 7


def test_wrong_numbers_of_arguments_are_refused(code: bytes) -> None:
    kernel = Kernel(code, Call())
    with pytest.raises(ValueError, match="argument"):
        kernel.call([0], [1])
    plain = Kernel(code, Call(name="touch", formats="q", reported=0, stages=2))
    with pytest.raises(struct.error, match="expected 3 items"):
        plain.call([0, 0], [1])


def test_many_threads_call_one_kernel(code: bytes) -> None:
    kernel, wrong = Kernel(code, Call()), []

    def work(seed: int) -> None:
        out = np.zeros(1)
        for n in range(20, 300):
            kernel.call([out.ctypes.data], [n, complex(seed, 1)])
            if out[0] != n + seed + 1:
                wrong.append((seed, n))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(100, 108)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_damaged_code_and_missing_symbols_are_errors(code: bytes) -> None:
    with pytest.raises(DeviceError, match="object code cannot be loaded"):
        load(b"not an object")
    with pytest.raises(DeviceError, match="object code of missing cannot be loaded"):
        load(code).addresses(["missing"])
    outside = compile_text("declare void @no_such_thing()\ndefine void @f() {\n call void "
                           "@no_such_thing()\n ret void\n}", host())  # fmt: skip
    with pytest.raises(DeviceError, match="object code of f cannot be loaded"):
        load(outside).addresses(["f"])


def test_an_object_is_loaded_once(code: bytes) -> None:
    first, second = load(code), load(code)
    assert first is second
    found = first.addresses(["sum.0", "touch.0"])
    assert found["sum.0"] != found["touch.0"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
def test_code_that_nobody_needs_is_unloaded(code: bytes) -> None:
    library = load(code, anew=True)
    (address,) = library.addresses(["sum.0"]).values()
    assert any(address in pages for pages in mapped())
    del library
    gc.collect()
    assert not any(address in pages for pages in mapped())


def mapped() -> list[range]:
    """The ranges of addresses from which code can be run."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    ends = [line[0].split("-") for line in lines if "x" in line[1]]
    return [range(int(a, 16), int(b, 16)) for a, b in ends]
