"""The examples do what they say."""

from __future__ import annotations

import numpy as np

import talweg as tw
from examples import writer


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
