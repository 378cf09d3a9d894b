"""`frozen` means what `dataclass(frozen=True)` means: both decorate the same classes here."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field
from threading import Barrier, Thread
from typing import Any, ClassVar

import pytest

from talweg.base.frozen import frozen

Decorator = Callable[[type], Any]


def family(decorate: Decorator) -> dict[str, Any]:
    """Classes with every kind of field, made anew so that nothing is used yet."""

    @decorate
    class Base:
        """A base."""

        kind: ClassVar[str] = "base"
        x: int
        y: tuple[int, ...] = (1, 2)

        def __post_init__(self) -> None:
            object.__setattr__(self, "total", self.x + sum(self.y))

    @decorate
    class Same(Base):
        """No field of its own."""

        kind = "same"

    @decorate
    class More(Base):
        """Every kind of field."""

        z: list[int] = field(default_factory=list)
        hidden: int = field(default=3, repr=False)
        given: str = field(default="by itself", init=False)
        aside: float = field(default=0.5, compare=False)
        own: set[int] = field(default_factory=set, init=False, repr=False)

    @decorate
    class Empty:
        """None at all."""

    @decorate
    class Late:
        """Its field is set afterwards."""

        name: str
        size: int = field(init=False, repr=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "size", len(self.name))

    @decorate
    class Own:
        """Methods of its own stay."""

        x: int

        def __repr__(self) -> str:
            return "own"

        def __hash__(self) -> int:
            return 7

    return {c.__name__: c for c in (Base, Same, More, Empty, Late, Own)}


@pytest.fixture(params=[dataclass(frozen=True), frozen], ids=["dataclass", "frozen"])
def made(request: pytest.FixtureRequest) -> dict[str, Any]:
    return family(request.param)


def test_values_and_defaults(made: dict[str, Any]) -> None:
    more = made["More"](5, z=[1])
    assert (more.x, more.y, more.z, more.hidden, more.given) == (5, (1, 2), [1], 3, "by itself")
    assert more.total == 8
    assert made["More"](1).z is not made["More"](1).z
    assert made["Late"]("abc").size == 3
    assert made["Same"](1, (2,)).y == (2,)


def test_wrong_arguments(made: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'x'"):
        made["Base"]()
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'w'"):
        made["Same"](1, w=2)
    with pytest.raises(TypeError, match=r"takes 2 positional arguments but 3 were given"):
        made["Late"]("abc", 3)


def test_equality_and_hash(made: dict[str, Any]) -> None:
    base, same = made["Base"], made["Same"]
    assert base(1) == base(1, (1, 2))
    assert base(1) != base(2)
    assert base(1) != same(1), "another class"
    assert base(1) != (1, (1, 2))
    assert hash(base(1)) == hash(base(1, (1, 2))) == hash((1, (1, 2)))
    assert made["More"](1, aside=1.0) == made["More"](1, aside=2.0)
    assert made["More"](1) != made["More"](1, hidden=4)
    assert hash(made["Own"](1)) == 7
    assert made["Own"](1) == made["Own"](1) != made["Own"](2)
    assert made["Empty"]() == made["Empty"]()
    with pytest.raises(TypeError, match="unhashable"):
        hash(made["More"](1))


def test_text(made: dict[str, Any]) -> None:
    name = "family.<locals>."
    assert repr(made["More"](1)) == (
        f"{name}More(x=1, y=(1, 2), z=[], given='by itself', aside=0.5)"
    )
    assert repr(made["Empty"]()) == f"{name}Empty()"
    assert repr(made["Own"](1)) == "own"


def test_instances_do_not_change(made: dict[str, Any]) -> None:
    same = made["Same"](1)
    with pytest.raises(FrozenInstanceError):
        same.x = 2
    with pytest.raises(FrozenInstanceError):
        del same.x
    assert same.x == 1


def test_functions_of_dataclasses(made: dict[str, Any]) -> None:
    names = [f.name for f in dataclasses.fields(made["More"])]
    assert names == ["x", "y", "z", "hidden", "given", "aside", "own"]
    assert dataclasses.fields(made["Empty"]) == ()
    assert dataclasses.replace(made["Same"](1), x=4) == made["Same"](4)
    assert dataclasses.asdict(made["Late"]("ab")) == {"name": "ab", "size": 2}
    assert dataclasses.is_dataclass(made["Same"])


def test_match_and_signature(made: dict[str, Any]) -> None:
    base, late = made["Base"], made["Late"]
    match made["Same"](3):
        case base(x, y):
            assert (x, y) == (3, (1, 2))
    assert late.__match_args__ == ("name",)
    assert str(inspect.signature(base)) == "(x: 'int', y: 'tuple[int, ...]' = (1, 2)) -> None"


def test_copies(made: dict[str, Any]) -> None:
    more = made["More"](1, z=[2])
    assert copy.copy(more) == more
    assert copy.deepcopy(more).z is not more.z


@frozen
class Packed:
    """Can be found by pickle."""

    x: int


def test_the_first_thing_done_may_be_anything() -> None:
    uses: list[Callable[[Any], Any]] = [
        dataclasses.fields,
        lambda c: c.__match_args__,
        lambda c: c.__hash__,
        lambda c: object.__new__(c) == 1,
        inspect.signature,
    ]
    for use in uses:
        for name in ("Empty", "Same", "More"):
            classes = family(frozen)
            use(classes[name])
            assert classes["Same"](1) == classes["Same"](1)
            assert classes["More"](1).hidden == 3
    assert pickle.loads(pickle.dumps(Packed(3))) == Packed(3)


def at_once(use: Callable[[], Any], count: int = 4) -> list[Any]:
    start = Barrier(count)
    results: list[Any] = []

    def run() -> None:
        start.wait()
        results.append(use())

    threads = [Thread(target=run) for _ in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


def test_threads_may_share_the_first_use() -> None:
    for _ in range(20):
        cls = family(frozen)["More"]
        results = at_once(lambda cls=cls: (repr(cls(1)), cls(1) == cls(1), cls.__match_args__))
        assert len(results) == 4
        assert all(r == results[0] for r in results)
