"""What programs ask about NVIDIA GPUs: there are none that talweg can use, so far."""

from __future__ import annotations

__all__ = ["device_count", "is_available", "manual_seed", "manual_seed_all"]


def is_available() -> bool:
    """Return whether Tensors can live on a GPU: never, so far.

    >>> import talweg as tw
    >>> tw.device("cuda" if tw.cuda.is_available() else "cpu")
    device(type='cpu')
    """
    return False


def device_count() -> int:
    """Return the number of GPUs: 0, so far."""
    return 0


def manual_seed(seed: int) -> None:
    """Seed the random numbers of the present GPU; without one this does nothing."""


def manual_seed_all(seed: int) -> None:
    """Seed the random numbers of every GPU; without one this does nothing."""
