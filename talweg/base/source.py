"""The user's line: which statement outside talweg recorded a Node."""

from __future__ import annotations

import linecache
import os
import sys
import warnings
from types import CodeType, FrameType

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "")
_OURS: set[str] = set()

FOREIGN: set[str] = set()  # names of files outside talweg that were seen

Source = tuple[CodeType, int]


def here() -> Source | None:
    """Return the code object and instruction offset of the nearest frame outside talweg."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        name = code.co_filename
        if name in FOREIGN:
            return code, frame.f_lasti
        if name not in _OURS:
            (_OURS if name.startswith(_PACKAGE) else FOREIGN).add(name)
            continue
        frame = frame.f_back
    return None


def entered() -> tuple[list[str], Source | None]:
    """Return what the user's line called, and that line.

    Returns:
        The qualified names of the functions of talweg that are running, the innermost first, down
        to the one that the nearest frame outside talweg called; and that frame's line.
    """
    names: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        names.append(frame.f_code.co_qualname)
        frame = frame.f_back
    return names, None if frame is None else (frame.f_code, frame.f_lasti)


def warn(message: str) -> None:
    """Give a UserWarning that points at the user's line."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    warnings.warn(message, stacklevel=level)


def describe(source: Source | None) -> str:
    """Return `file:line: text of the line`, or `an unknown line`."""
    if source is None:
        return "an unknown line"
    file, line = place_of(source)
    text = linecache.getline(file, line).strip()
    return f"{file}:{line}" + (f": {text}" if text else "")


def where(source: Source | None) -> str:
    """Return `file:line`, or `an unknown line`."""
    return "an unknown line" if source is None else "{}:{}".format(*place_of(source))


def place_of(source: Source) -> tuple[str, int]:
    """Return the file and the number of the line."""
    code, offset = source
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= offset < end and number is not None:
            line = number
    return code.co_filename, line
