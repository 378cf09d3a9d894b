"""What the compiler did in this process, counted."""

from __future__ import annotations

import threading
from typing import final

from talweg.base.frozen import frozen

_LOCK = threading.Lock()


@final
@frozen
class Counters:
    """What the compiler did in this process.

    Attributes:
        compiled: kernels made by LLVM.
        loaded: kernels taken from the cache folder.
        reused: kernels that this process had already.
        plans: Plans built, one for each structure and shape of a graph.
        hits: evaluations for which there was a Plan.
        interpreted: Nodes computed by the NumPy references because no kernel can.
        first_sight: Nodes of small graphs computed so because they came for the first time.
    """

    compiled: int = 0
    loaded: int = 0
    reused: int = 0
    plans: int = 0
    hits: int = 0
    interpreted: int = 0
    first_sight: int = 0


_counts = dict.fromkeys(Counters.__match_args__, 0)


def counters() -> Counters:
    """Return the counts so far.

    >>> import talweg as tw
    >>> tw.counters().interpreted
    0
    """
    return Counters(**_counts)


def reset_counters() -> None:
    """Set all counts to zero.

    >>> import talweg as tw
    >>> tw.reset_counters()
    >>> tw.counters()
    Counters(compiled=0, loaded=0, reused=0, plans=0, hits=0, interpreted=0, first_sight=0)
    """
    with _LOCK:
        _counts.update(dict.fromkeys(_counts, 0))


def count(**more: int) -> None:
    """Add to counters."""
    with _LOCK:
        for name, n in more.items():
            _counts[name] += n
