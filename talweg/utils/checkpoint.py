"""Activations that are computed again in the backward pass, instead of being kept."""

from __future__ import annotations

from talweg.engine.checkpoint import checkpoint, checkpoint_sequential, noop_context_fn

__all__ = ["checkpoint", "checkpoint_sequential", "noop_context_fn"]
