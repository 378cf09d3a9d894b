"""How a loop nest is cut into work for threads and vectors: moves on nests, and their choice."""

from __future__ import annotations

from talweg.schedule.choose import Schedule, choose

__all__ = ["Schedule", "choose"]
