"""Built-in functions of Python made of machine code: calls without ctypes' conversions.

A call through ctypes converts each argument for a quarter of a microsecond. CPython's stable ABI
describes what a built-in function is: this module makes one of an address.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final

_FASTCALL = 0x0080


class _MethodDef(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


# An interpreter's function refers to its definition for as long as it lives.
_KEPT: Final[list[_MethodDef]] = []


def builtin(name: str, address: int) -> Callable[..., Any]:
    """Return a built-in function of the calling convention METH_FASTCALL.

    Args:
        name: for messages.
        address: of `PyObject *(PyObject *self, PyObject *const *args, Py_ssize_t nargs)`.
    """
    definition = _MethodDef(name.encode(), address, _FASTCALL, None)
    _KEPT.append(definition)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes = [ctypes.POINTER(_MethodDef), ctypes.c_void_p, ctypes.c_void_p]
    make.restype = ctypes.py_object
    made: Callable[..., Any] = make(definition, None, None)
    return made


def interpreter(*names: str) -> list[int]:
    """Return the addresses of functions of the interpreter."""
    found = (getattr(ctypes.pythonapi, name) for name in names)
    return [ctypes.cast(function, ctypes.c_void_p).value or 0 for function in found]
