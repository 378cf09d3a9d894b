"""Random Tensors: the streams behind them, and the distributions that users draw from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import talweg as tw
from talweg.base.errors import DTypeError, InvalidValue, ShapeError

DRAWS: list[Callable[..., tw.Tensor]] = [
    lambda **o: tw.rand(5, **o),
    lambda **o: tw.randn(5, **o),
    lambda **o: tw.randint(1000, (5,), **o),
    lambda **o: tw.randperm(50, **o),
    lambda **o: tw.normal(0.0, 1.0, (5,), **o),
    lambda **o: tw.bernoulli(tw.full((40,), 0.5), **o),
    lambda **o: tw.multinomial(tw.ones(30), 9, **o),
    lambda **o: tw.zeros(5).uniform_(**o),
    lambda **o: tw.zeros(5).normal_(**o),
    lambda **o: tw.zeros(5).exponential_(**o),
    lambda **o: tw.zeros(5).cauchy_(**o),
    lambda **o: tw.zeros(5).log_normal_(**o),
    lambda **o: tw.zeros(40).geometric_(0.2, **o),
    lambda **o: tw.zeros(40).bernoulli_(0.5, **o),
    lambda **o: tw.zeros(5).random_(1000, **o),
]


@pytest.mark.parametrize("draw", DRAWS)
def test_a_seed_starts_a_stream(draw: Callable[..., tw.Tensor]) -> None:
    tw.manual_seed(1)
    first, second = draw().tolist(), draw().tolist()
    assert first != second
    tw.manual_seed(1)
    assert [draw().tolist(), draw().tolist()] == [first, second]
    tw.manual_seed(2)
    assert draw().tolist() != first


@pytest.mark.parametrize("draw", DRAWS)
def test_a_generator_is_a_stream_of_its_own(draw: Callable[..., tw.Tensor]) -> None:
    before = tw.get_rng_state().tolist()
    own = tw.Generator().manual_seed(1)
    first = draw(generator=own).tolist()
    assert tw.get_rng_state().tolist() == before
    assert draw(generator=own.manual_seed(1)).tolist() == first


def test_states_are_taken_up_again() -> None:
    tw.manual_seed(7)
    assert tw.initial_seed() == 7
    tw.rand(3)
    state = tw.get_rng_state()
    with tw.fork_rng():
        inside = tw.rand(3).tolist()
        tw.manual_seed(9)
    assert tw.initial_seed() == 7
    assert tw.rand(3).tolist() == inside
    tw.set_rng_state(state)
    assert tw.rand(3).tolist() == inside
    with tw.fork_rng(enabled=False):
        tw.manual_seed(9)
    assert tw.initial_seed() == 9
    assert tw.Generator().seed() != tw.Generator().seed()
    with pytest.raises(InvalidValue, match="get_state"):
        tw.set_rng_state(tw.ones(2))


def test_shapes_and_dtypes_of_another() -> None:
    x = tw.zeros(2, 3, dtype=tw.float64)
    assert tw.rand_like(x).dtype is tw.randn_like(x).dtype is tw.float64
    whole = tw.randint_like(x, 3, 5)
    assert whole.shape == tw.rand_like(x).shape == (2, 3)
    assert set(whole.flatten().tolist()) <= {3.0, 4.0}
    assert tw.rand_like(x, dtype=tw.float16).dtype is tw.float16


def test_the_moments_of_what_is_drawn() -> None:
    def moments(t: tw.Tensor) -> tuple[float, float]:
        return float(t.double().mean().item()), float(t.double().std().item())

    n = 40_000
    assert moments(tw.rand(n)) == pytest.approx((0.5, 12**-0.5), abs=0.01)
    assert moments(tw.randn(n)) == pytest.approx((0, 1), abs=0.02)
    assert moments(tw.randint(-2, 3, (n,))) == pytest.approx((0, 2**0.5), abs=0.03)
    assert moments(tw.normal(3.0, 0.5, (n,))) == pytest.approx((3, 0.5), abs=0.02)
    means = tw.tensor([0.0, 10.0]).expand(n // 2, 2)
    drawn = tw.normal(means, tw.tensor([1.0, 2.0]))
    assert drawn.mean(0).tolist() == pytest.approx([0, 10], abs=0.05)
    assert drawn.std(0).tolist() == pytest.approx([1, 2], abs=0.05)
    assert moments(tw.bernoulli(tw.full((n,), 0.3)))[0] == pytest.approx(0.3, abs=0.01)
    assert moments(tw.zeros(n).uniform_(2, 4)) == pytest.approx((3, 3**-0.5), abs=0.02)
    assert moments(tw.zeros(n).uniform_(to=2)) == pytest.approx((1, 3**-0.5), abs=0.02)
    assert moments(tw.zeros(n).normal_(mean=3.0, std=0.5)) == pytest.approx((3, 0.5), abs=0.02)
    assert tw.zeros(n).cauchy_(median=2.0, sigma=0.5).median().item() == pytest.approx(2, abs=0.05)
    assert moments(tw.zeros(n).exponential_(2.0)) == pytest.approx((0.5, 0.5), abs=0.02)
    assert moments(tw.zeros(n).geometric_(0.25)) == pytest.approx((4, 12**0.5), abs=0.1)
    counts = np.bincount(tw.multinomial(tw.tensor([1.0, 3.0]), n, True).numpy())
    np.testing.assert_allclose(counts / n, [0.25, 0.75], atol=0.01)


def test_permutations_hold_every_number_once() -> None:
    assert sorted(tw.randperm(100).tolist()) == list(range(100))
    assert tw.randperm(5, dtype=tw.int32).dtype is tw.int32


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"\(2, -1\)"):
        tw.rand(2, -1)
    with pytest.raises(InvalidValue, match="3"):
        tw.randint(3, 3, (2,))
    with pytest.raises(DTypeError, match="bool"):
        tw.zeros(2, dtype=tw.bool).random_()


def test_the_size_of_whole_numbers_may_be_a_keyword() -> None:
    tw.manual_seed(3)
    plain = tw.randint(9, (5,)).tolist()
    for draw in (
        lambda: tw.randint(9, size=(5,)),
        lambda: tw.randint(high=9, size=(5,)),
        lambda: tw.randint(0, 9, (5,)),
    ):
        tw.manual_seed(3)
        assert draw().tolist() == plain
