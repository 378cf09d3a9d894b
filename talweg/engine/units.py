"""Numbers with units, as reports write them."""

from __future__ import annotations


def bytes_text(count: float) -> str:
    """Return an amount of memory in three digits.

    >>> bytes_text(0), bytes_text(1000), bytes_text(1536), bytes_text(3 << 30)
    ('0 B', '1000 B', '1.50 KiB', '3.00 GiB')
    """
    return _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def count_text(count: float) -> str:
    """Return how many of something there are, in three digits.

    >>> count_text(12), count_text(12_345), count_text(2.5e9)
    ('12', '12.3 k', '2.50 G')
    """
    return _scaled(count, 1000, ("", "k", "M", "G", "T", "P")).rstrip()


def time_text(nanoseconds: float) -> str:
    """Return a time in three digits.

    >>> time_text(0), time_text(950), time_text(12_345), time_text(2.5e9)
    ('0 ns', '950 ns', '12.3 us', '2.50 s')
    """
    return _scaled(nanoseconds, 1000, ("ns", "us", "ms", "s"))


def _scaled(value: float, step: int, units: tuple[str, ...]) -> str:
    place = 0
    while abs(value) >= step and place < len(units) - 1:
        value /= step
        place += 1
    if place == 0:
        return f"{value:.0f} {units[0]}"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f} {units[place]}"
