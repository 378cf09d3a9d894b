"""Loading object code and calling kernels: layout of the block, errors, threads."""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass

import numpy as np
import pytest

from talweg.base.errors import DeviceError, IndexOutOfRange
from talweg.codegen.cpu import compile_text, host
from talweg.runtime.jit import Kernel, load

# out[0] = a + b.real + b.imag; fails with (a, 77) where a is 13, by its second check.
SOURCE = """
define i32 @sum(ptr %block) {
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
define i64 @sum.scratch(ptr %block) {
  %pa = getelementptr i64, ptr %block, i64 2
  %a = load i64, ptr %pa
  ret i64 %a
}
define i32 @touch(ptr %block) {
  %p = getelementptr i64, ptr %block, i64 1
  %scratch = load ptr, ptr %p
  %q = getelementptr i64, ptr %block, i64 2
  %n = load i64, ptr %q
  %last = sub i64 %n, 1
  %end = getelementptr i8, ptr %scratch, i64 %last
  store i8 1, ptr %scratch
  store i8 1, ptr %end
  %where = load ptr, ptr %block
  store ptr %scratch, ptr %where
  ret i32 0
}
define i64 @touch.scratch(ptr %block) {
  %pa = getelementptr i64, ptr %block, i64 2
  %a = load i64, ptr %pa
  ret i64 %a
}
"""


@dataclass(frozen=True)
class Call:
    name: str = "sum"
    buffers: int = 1
    formats: str = "qD"
    messages: tuple[str, ...] = ("first", "{0} of {1}")
    reported: int = 2
    scratch: bool = False


@pytest.fixture(scope="module")
def code() -> bytes:
    return compile_text(SOURCE, host())


def test_arguments_stand_where_kernels_look_for_them(code: bytes) -> None:
    kernel = Kernel(code, Call())
    out = np.zeros(1)
    kernel.call([out.ctypes.data], [5, 0.5 + 2j])
    assert out[0] == 7.5
    block = kernel.block([out.ctypes.data], [6, 1])
    kernel.run(block)
    assert out[0] == 7


def test_a_failed_check_is_raised_with_its_values(code: bytes) -> None:
    kernel, out = Kernel(code, Call()), np.zeros(1)
    with pytest.raises(IndexOutOfRange, match=r"^13 of 77$"):
        kernel.call([out.ctypes.data], [13, 0])
    kernel.call([out.ctypes.data], [14, 0])
    assert out[0] == 14


def test_scratch_is_aligned_and_as_large_as_asked_for(code: bytes) -> None:
    kernel = Kernel(code, Call(name="touch", formats="q", reported=0, scratch=True))
    where = np.zeros(1, np.uint64)
    for size in (1, 64, 100_000):
        assert kernel.scratch_bytes([size]) == size
        kernel.call([where.ctypes.data], [size])
        assert where[0] % 64 == 0
    assert Kernel(code, Call()).scratch_bytes([5, 0]) == 0


def test_wrong_numbers_of_arguments_are_refused(code: bytes) -> None:
    kernel = Kernel(code, Call())
    with pytest.raises(ValueError, match="argument"):
        kernel.call([0], [1])
    plain = Kernel(code, Call(name="touch", formats="q", reported=0))
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
    with pytest.raises(DeviceError, match="object code of sum cannot be loaded"):
        load(b"not an object", ["sum"])
    with pytest.raises(DeviceError, match="object code of missing cannot be loaded"):
        load(code, ["missing"])
    outside = compile_text("declare void @no_such_thing()\ndefine void @f() {\n call void "
                           "@no_such_thing()\n ret void\n}", host())  # fmt: skip
    with pytest.raises(DeviceError, match="object code of f cannot be loaded"):
        load(outside, ["f"])


def test_one_object_may_be_loaded_twice(code: bytes) -> None:
    first, second = load(code, ["sum"])["sum"], load(code, ["sum"])["sum"]
    assert first != second
