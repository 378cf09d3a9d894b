"""The examples do what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import talweg as tw
from examples import shakespeare, writer


def test_what_is_read_from_the_cache_is_what_the_whole_sequence_gives() -> None:
    tw.manual_seed(1)
    model = writer.Decoder(7, width=16, heads=2).eval()
    tokens = tw.tensor([[1, 5, 2, 6, 0]])
    whole = model(tokens).detach().numpy()
    caches = model.caches(1, 8)
    for place in range(5):
        one = model(tokens[:, place : place + 1], tw.tensor([place]), caches)
        np.testing.assert_allclose(one.detach().numpy()[:, 0], whole[:, place], atol=1e-5)


def test_rotated_vectors_tell_distances_alone() -> None:
    q, k = tw.rand(1, 8), tw.rand(1, 8)
    near, far = (
        writer.rotated(q, tw.tensor([3 + n])) @ writer.rotated(k, tw.tensor([1 + n])).T
        for n in (0, 50)
    )
    np.testing.assert_allclose(near.numpy(), far.numpy(), rtol=1e-4)


def test_writing_goes_on_from_its_beginning() -> None:
    tw.manual_seed(1)
    model = writer.Decoder(5, width=16, heads=2, layers=1)
    written = writer.write(model, [3, 1], 6)
    assert written[:2] == [3, 1]
    assert len(written) == 8
    again = [3, 1]
    for _ in range(6):
        again.append(int(model(tw.tensor([again]))[0, -1].argmax().item()))
    assert written == again


def test_letters_of_a_text_are_learned(tmp_path: Path) -> None:
    tw.manual_seed(1)
    text = shakespeare.read("to be, or not to be: that is the question.\n" * 60)
    recipe = shakespeare.Recipe(
        block=8, batch=8, layers=1, heads=2, width=16, steps=60, warmup=10, rate=1e-2, every=30,
        pieces=4,
    )  # fmt: skip
    assert "".join(sorted(set(text.letters))) == text.letters
    assert len(text.held_out) == 258
    rates = [recipe.rate_at(step) for step in (0, 9, 10, 35, 60)]
    np.testing.assert_allclose(rates, [1e-2 / 11, 1e-1 / 11, 1e-2, 5.05e-3, 1e-4])
    model = shakespeare.make(text, recipe)
    curve = shakespeare.train(model, text, recipe, show=False)
    assert [step for step, _ in curve] == [0, 30, 60]
    losses = [losses["held out"] for _, losses in curve]
    assert abs(losses[0] - np.log(len(text.letters))) < 0.2
    assert losses[2] < 2 < losses[0]
    shakespeare.draw(curve, str(tmp_path / "curve.png"))
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert len(shakespeare.write(model, text, 2)) == 3
