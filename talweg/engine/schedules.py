"""The schedule of each kernel: what a search has found for it, else the default."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from talweg.base.deferred import deferred
from talweg.codegen.cpu import host
from talweg.engine.state import CONFIG
from talweg.engine.workers import COMPILER, disk_cache, state_of

# A process whose Programs are all kept schedules nothing.
if TYPE_CHECKING:
    from talweg.loops import text
    from talweg.loops.nest import LoopNest
    from talweg.loops.scalar import Number
    from talweg.schedule import choose, search
    from talweg.schedule.choose import Schedule
else:
    text = deferred("talweg.loops.text")
    choose = deferred("talweg.schedule.choose")
    search = deferred("talweg.schedule.search")


def schedule_of(nest: LoopNest, values: Sequence[Number]) -> Schedule:
    """Return the schedule of a verified nest.

    Args:
        nest: the kernel.
        values: of its arguments where it is used first.
    """
    found = _FOUND.get(nest, values)
    if found is not None:
        return found
    key = id(nest), id(values)  # launches that repeat another one have the very same
    known = _CHOSEN.get(key)
    if known is None:
        if len(_CHOSEN) >= _LIMIT:
            _CHOSEN.clear()
        known = nest, values, choose.choose(nest, nest.named(values), host())
        _CHOSEN[key] = known
    return known[2]


_CHOSEN: dict[tuple[int, int], tuple[LoopNest, Sequence[Number], Schedule]] = {}
_LIMIT = 4096


def keep_schedules(found: Mapping[tuple[LoopNest, tuple[Number, ...]], Schedule]) -> None:
    """Keep what a search has found, for this process and in the cache folder for others.

    Args:
        found: the schedules of nests with these values of their arguments.
    """
    _FOUND.add({_name(nest, values): search.described(s) for (nest, values), s in found.items()})


def found_schedules() -> str:
    """Return a hash over all that searches have found; nothing where they have found nothing."""
    return _FOUND.digest()


def _name(nest: LoopNest, values: Sequence[Number]) -> str:
    return hashlib.sha256(f"{text.format_nest(nest)}\n{list(values)}".encode()).hexdigest()


@final
class _Found:
    """What searches have found, by the nest and the values of its arguments."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] | None = None
        self._lock = threading.Lock()

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return what there is: the folder is read once."""
        with self._lock:
            if self._rows is None:
                self._rows = self._stored()
            return self._rows

    def get(self, nest: LoopNest, values: Sequence[Number]) -> Schedule | None:
        """Return the schedule that was found, if any."""
        rows = self.rows()
        fields = rows.get(_name(nest, values)) if rows else None
        return None if fields is None else search.read_schedule(fields)

    def add(self, more: Mapping[str, dict[str, Any]]) -> None:
        """Add rows, also to what another process has written meanwhile."""
        with self._lock:
            self._rows = {**(self._rows or {}), **self._stored(), **more}
            disk_cache().write(self._key(), json.dumps(self._rows).encode())

    def digest(self) -> str:
        """Return a hash over all rows, or nothing."""
        rows = self.rows()
        if not rows:
            return ""
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]

    def _key(self) -> bytes:
        threads = f"schedules {state_of(*COMPILER)} {CONFIG.threads} threads"
        return disk_cache().key("", threads, host())

    def _stored(self) -> dict[str, dict[str, Any]]:
        content = disk_cache().read(self._key())
        rows: dict[str, dict[str, Any]] = {} if content is None else json.loads(content)
        return rows


_FOUND = _Found()
