"""Numbers that are open: nothing is known of them until a plan runs."""

from __future__ import annotations

from typing import Any, final


@final
class Unfit(Exception):
    """For these numbers kernels have other work to do than was laid out."""


@final
class Open(int):
    """Number `place` of those that a run is given. Until then it counts as 0 in computations.

    It equals no int, and no other of these: what is the same for all of them holds for any number.

    >>> Open(2) + 1, Open(2) == 0, Open(2) == Open(2)
    (1, False, True)
    """

    place: int

    def __new__(cls, place: int) -> Open:
        made = int.__new__(cls, 0)
        made.place = place
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Open) and other.place == self.place

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((Open, self.place))

    def __repr__(self) -> str:
        return f"?{self.place}"

    def __reduce__(self) -> tuple[Any, ...]:
        return Open, (self.place,)
