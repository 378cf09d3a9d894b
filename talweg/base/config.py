"""Settings read from the environment, once, as one value."""

from __future__ import annotations

import os

from talweg.base.errors import InvalidValue
from talweg.base.frozen import frozen

_MOST = 1 << 33


@frozen
class Config:
    """What the environment asks of talweg.

    Args:
        threads: worker threads (`TALWEG_NUM_THREADS`, else the cores this process may use).
        cache: folder of compiled objects (`TALWEG_CACHE_DIR`, else `~/.cache/talweg`).
        check: verify every Graph, and compare every kernel that runs with the references
            (`TALWEG_CHECK=1`).
        trace: write a line for whatever costs time, and why (`TALWEG_TRACE=1`).
        sync: run every operation at once (`TALWEG_SYNC=1`).
        compile: `always`, `never`, or `auto`: small graphs are compiled when they come again
            (`TALWEG_COMPILE`).
        pending: operations that may wait unevaluated before they are run (`TALWEG_PENDING`).
        pending_bytes: of their results, together: a third of the machine's memory, at most 8 GiB.
    """

    threads: int
    cache: str
    check: bool
    trace: bool
    sync: bool
    compile: str
    pending: int
    pending_bytes: int


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdigit() or int(text) < 1:
        raise InvalidValue(f"{name}={text!r} is not a positive whole number; unset or correct it")
    return int(text)


def _choice(name: str, choices: tuple[str, ...]) -> str:
    text = os.environ.get(name, "") or choices[0]
    if text not in choices:
        raise InvalidValue(f"{name}={text!r} is none of {', '.join(choices)}; unset or correct it")
    return text


def read() -> Config:
    """Read the environment.

    Raises:
        InvalidValue: when a number is not a positive whole number, or a word is not known.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    home = os.path.join("~", ".cache", "talweg")
    return Config(
        threads=_number("TALWEG_NUM_THREADS", cores or 1),
        cache=os.environ.get("TALWEG_CACHE_DIR") or os.path.expanduser(home),
        check=os.environ.get("TALWEG_CHECK", "") == "1",
        trace=os.environ.get("TALWEG_TRACE", "") == "1",
        sync=os.environ.get("TALWEG_SYNC", "") == "1",
        compile=_choice("TALWEG_COMPILE", ("always", "auto", "never")),
        pending=_number("TALWEG_PENDING", 10_000),
        pending_bytes=min(_MOST, _memory() // 3),
    )


def _memory() -> int:
    """Bytes of the machine's memory; where the system does not say, as if it were 8 GiB."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return _MOST
