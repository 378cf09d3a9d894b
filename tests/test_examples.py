"""The examples do what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import talweg as tw
from examples import (
    accumulation,
    averages,
    cifar,
    memory,
    precision,
    shakespeare,
    treelstm,
    writer,
)
from talweg.data import TensorDataset, Tree


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


TREES = [
    Tree.read(text)
    for text in (
        "(3 (2 (2 a) (4 (4 lovely) (2 film))) (2 .))",
        "(1 (2 a) (0 (0 dull) (2 film)))",
        "(4 (4 lovely) (2 .))",
        "(0 (0 (0 dull) (2 and)) (1 (1 sad) (2 .)))",
    )
]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def state(tree: Tree, weights: dict[str, np.ndarray], number: treelstm.Vocab) -> list[np.ndarray]:
    """State and cell of a node, by the formulas of the paper, one node at a time."""
    if not tree.children:
        x = weights["words.weight"][number[tree.word]]
        i, o, u = np.split(weights["leaf.weight"] @ x + weights["leaf.bias"], 3)
        c = sigmoid(i) * np.tanh(u)
        return [sigmoid(o) * np.tanh(c), c]
    (hl, cl), (hr, cr) = (state(child, weights, number) for child in tree.children)
    z = weights["inner.weight"] @ np.concatenate([hl, hr]) + weights["inner.bias"]
    i, o, u, fl, fr = np.split(z, 5)
    c = sigmoid(i) * np.tanh(u) + sigmoid(fl) * cl + sigmoid(fr) * cr
    return [sigmoid(o) * np.tanh(c), c]


def test_trees_in_batches_have_the_states_of_trees_alone() -> None:
    vocab = treelstm.vocabulary(TREES)
    model = treelstm.TreeLSTM(len(vocab), width=6).eval()
    weights = {k: v.detach().numpy().astype(float) for k, v in model.named_parameters()}
    gather = treelstm.Gather(vocab)
    for part in (TREES[:2], TREES, TREES[2:]):  # the levels grow, and are filled up
        batch = gather(part)
        scores = model(batch.words, batch.children, batch.sizes).detach().numpy()
        for root, tree in zip(batch.roots.tolist(), part, strict=True):
            h = state(tree, weights, vocab)[0]
            expected = weights["judge.weight"] @ h + weights["judge.bias"]
            np.testing.assert_allclose(scores[root], expected, atol=1e-5)
            assert batch.labels[root].item() == tree.label
        counted = [label for label in batch.labels.tolist() if label != treelstm.NOWHERE]
        assert sorted(counted) == sorted(node.label for tree in part for node in tree.nodes())
    assert sum(batch.sizes) > sum(1 for tree in TREES for _ in tree.nodes())


def test_trees_are_learned() -> None:
    tw.manual_seed(0)
    vocab = treelstm.vocabulary(TREES)
    model = treelstm.TreeLSTM(len(vocab), width=16, dropout=0.0)
    curve = treelstm.train(model, TREES * 2, TREES, vocab, 30, batch_size=4, show=False)
    assert curve[-1]["loss"] < 0.3 < 1 < curve[0]["loss"]
    assert {name: curve[-1][name] for name in ("sentences", "good or bad")} == {
        "sentences": 1.0,
        "good or bad": 1.0,
    }


def test_a_small_resnet_learns_colours() -> None:
    tw.manual_seed(0)
    labels = tw.arange(48) % 3
    images = tw.randn(48, 3, 8, 8)
    images[tw.arange(48), labels] += 1.0
    pictures = TensorDataset(images, labels)
    model = cifar.resnet(1, 3)
    assert sum(p.numel() for p in cifar.resnet(3, 10).parameters()) == 269_722  # ResNet-20
    curve = cifar.train(model, pictures, pictures, 6, batch_size=16, show=False)
    assert curve[-1]["accuracy"] > 0.9
    assert curve[-1]["loss"] < curve[0]["loss"]


def test_gradients_of_parts_add_up_to_those_of_a_batch() -> None:
    (large, whole), (small, parts) = accumulation.train(64, 1), accumulation.train(16, 4)
    np.testing.assert_allclose(parts, whole, rtol=1e-4)
    assert whole[-1] < whole[0]
    for p, q in zip(large.parameters(), small.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), atol=1e-4)


def test_the_mean_of_the_weights_is_better() -> None:
    weights, mean = averages.main()
    assert mean < weights


@pytest.mark.parametrize("dtype", [tw.float16, tw.bfloat16])
def test_half_the_width_learns_as_well(dtype: tw.dtype) -> None:
    half, whole = precision.train(dtype, 2), precision.train(None, 2)
    np.testing.assert_allclose(half, whole, atol=0.05)


def test_what_is_computed_again_has_the_same_gradients() -> None:
    for kept, again in zip(memory.gradients(False), memory.gradients(True), strict=True):
        np.testing.assert_allclose(kept.numpy(), again.numpy(), rtol=1e-4, atol=1e-7)
