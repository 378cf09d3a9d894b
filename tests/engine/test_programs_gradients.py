"""Whole programs, as users write them: every parameter's gradient against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

import talweg as tw
import talweg.nn.functional as F
from talweg import nn


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    tw.set_default_dtype(tw.float64)
    yield
    tw.set_default_dtype(tw.float32)


def normal(*shape: int, seed: int = 0) -> tw.Tensor:
    return tw.tensor(np.random.RandomState(seed).standard_normal(shape))


def check(loss: Callable[[], tw.Tensor], params: Sequence[tw.Tensor]) -> None:
    """Compare `.grad` after backward() with central differences at some elements of each one."""
    for p in params:
        p.grad = None
    loss().backward()
    random = np.random.RandomState(1)
    for p in params:
        assert p.grad is not None
        got, flat = p.grad.numpy().reshape(-1), p.detach().view(-1)
        for i in random.permutation(len(got))[:6].tolist():
            at, step = flat[i].item(), 1e-5
            flat[i] = at + step
            high = loss().item()
            flat[i] = at - step
            low = loss().item()
            flat[i] = at
            assert got[i] == pytest.approx((high - low) / (2 * step), rel=1e-5, abs=1e-7)


def test_a_language_model_with_tied_weights_and_causal_attention() -> None:
    tokens = tw.tensor([[1, 4, 2, 0, 3], [3, 3, 1, 2, 4]])
    table, place = nn.Embedding(5, 8), nn.Embedding(5, 8)
    head = nn.Linear(8, 5, bias=False)
    head.weight = table.weight
    joint, out, norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8)
    mask = tw.tril(tw.ones(5, 5)) == 0

    def loss() -> tw.Tensor:
        x = table(tokens) + place(tw.arange(5))
        q, k, v = (t.view(2, 5, 2, 4).transpose(1, 2) for t in joint(norm(x)).chunk(3, dim=-1))
        scores = (q @ k.transpose(-2, -1) / 2).masked_fill(mask, float("-inf"))
        x = x + out((scores.softmax(-1) @ v).transpose(1, 2).contiguous().view(2, 5, 8))
        return F.cross_entropy(head(F.gelu(x))[:, :-1].reshape(-1, 5), tokens[:, 1:].reshape(-1))

    check(loss, [table.weight, place.weight, *joint.parameters(), *out.parameters()])


def test_a_recurrent_cell_whose_states_are_written_into_a_buffer() -> None:
    gates = nn.Linear(5, 12)
    x = normal(6, 2, 2)

    def loss() -> tw.Tensor:
        states = tw.zeros(6, 2, 3)
        h = c = tw.zeros(2, 3)
        for t in range(6):
            i, f, g, o = gates(tw.cat([x[t], h], 1)).chunk(4, 1)
            c = c * f.sigmoid() + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states[t] = h
        states[2:4] *= 2
        return (states**2).mean()

    check(loss, list(gates.parameters()))


def test_a_graph_network() -> None:
    source, target = tw.tensor([0, 1, 2, 3, 0, 2]), tw.tensor([1, 2, 3, 0, 2, 0])
    x, lin, score = normal(4, 3), nn.Linear(3, 4), nn.Linear(8, 1)

    def loss() -> tw.Tensor:
        h = lin(x)
        e = F.leaky_relu(score(tw.cat([h[source], h[target]], 1)), 0.2).exp()
        share = e / tw.zeros(4, 1).index_add(0, target, e)[target]
        seen = tw.zeros(4, 4).scatter_add_(0, target[:, None].expand(6, 4), share * h[source])
        return F.cross_entropy(seen[[0, 2, 3]], tw.tensor([1, 0, 3]))

    check(loss, [*lin.parameters(), *score.parameters()])


def test_a_gradient_penalty() -> None:
    critic = nn.Sequential(
        nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Softplus(), nn.Linear(6, 1)
    )
    between = normal(5, 4).requires_grad_()

    def loss() -> tw.Tensor:
        d = critic(between)
        (g,) = tw.autograd.grad(d, between, tw.ones_like(d), create_graph=True)
        return d.mean() + 10 * ((g.norm(2, dim=1) - 1) ** 2).mean()

    check(loss, [p for p in critic.parameters() if p is not critic[4].bias])


def test_learning_to_learn_through_two_updates() -> None:
    x, y = normal(6, 2), normal(6, 1, seed=1)
    params = [normal(3, 2, seed=2), normal(3, seed=3), normal(1, 3, seed=4)]
    rate = tw.tensor(0.1)
    for p in (*params, rate):
        p.requires_grad_()

    def model(ps: Sequence[tw.Tensor]) -> tw.Tensor:
        return F.linear(tw.tanh(F.linear(x, ps[0], ps[1])), ps[2])

    def loss() -> tw.Tensor:
        fast: Sequence[tw.Tensor] = params
        for _ in range(2):
            inner = F.mse_loss(model(fast)[:3], y[:3])
            grads = tw.autograd.grad(inner, fast, create_graph=True)
            fast = [p - rate * g for p, g in zip(fast, grads, strict=True)]
        return F.mse_loss(model(fast)[3:], y[3:])

    check(loss, [*params, rate])


def test_a_network_with_its_second_derivative_in_the_loss() -> None:
    net = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1))
    x = tw.linspace(0, 1, 7).view(-1, 1).requires_grad_()

    def loss() -> tw.Tensor:
        u = net(x)
        (du,) = tw.autograd.grad(u.sum(), x, create_graph=True)
        (ddu,) = tw.autograd.grad(du.sum(), x, create_graph=True)
        return ((ddu + u) ** 2).mean() + (du[0] - 1).pow(2).sum()

    check(loss, [net[0].weight, net[0].bias, net[2].weight])


def test_a_residual_block_with_in_place_activations() -> None:
    block = nn.ModuleList([nn.Conv2d(2, 2, 3, padding=1, bias=False) for _ in range(2)])
    norms = nn.ModuleList([nn.BatchNorm2d(2) for _ in range(2)])
    x, relu = normal(3, 2, 4, 4), nn.ReLU(inplace=True)

    def loss() -> tw.Tensor:
        out = norms[1](block[1](relu(norms[0](block[0](x)))))
        out += x
        return (relu(out).mean((2, 3)) ** 2).sum()

    check(loss, [*block.parameters(), *norms.parameters()])


def test_a_variational_autoencoder() -> None:
    x, noise = tw.sigmoid(normal(4, 6)), normal(4, 2, seed=5)
    enc, dec = nn.Linear(6, 4), nn.Sequential(nn.Linear(2, 5), nn.ELU(), nn.Linear(5, 6))

    def loss() -> tw.Tensor:
        mean, logvar = enc(x).chunk(2, dim=1)
        z = mean + noise * tw.exp(0.5 * logvar)
        seen = F.binary_cross_entropy(tw.sigmoid(dec(z)), x, reduction="sum")
        return seen - 0.5 * tw.sum(1 + logvar - mean.pow(2) - logvar.exp())

    check(loss, [*enc.parameters(), *dec.parameters()])


def test_truncation_by_detach_is_the_gradient_of_the_last_stretch() -> None:
    w = normal(3, 3).requires_grad_()
    h = normal(1, 3, seed=1)
    for _ in range(3):
        start = h = h.detach()
        for _ in range(2):
            h = tw.tanh(h @ w)
        w.grad = None
        h.sum().backward()

    a = np.asarray(start)
    m = np.asarray(w.detach())
    first = np.tanh(a @ m)
    second = np.tanh(first @ m)
    to_second = 1 - second**2
    to_first = (to_second @ m.T) * (1 - first**2)
    assert w.grad is not None
    np.testing.assert_allclose(w.grad.numpy(), first.T @ to_second + a.T @ to_first, rtol=1e-9)


def test_two_players_train_only_their_own_parameters() -> None:
    maker, judge = nn.Linear(2, 3), nn.Linear(3, 1)
    fake = maker(normal(4, 2))
    judge(fake.detach()).mean().backward()
    assert all(p.grad is None for p in maker.parameters())
    np.testing.assert_allclose(
        judge.weight.grad.numpy(), np.asarray(fake.detach()).mean(0, keepdims=True)
    )
    judge.zero_grad()
    judge(fake).mean().backward()
    wanted = np.repeat(np.asarray(judge.weight.detach()), 2, 0).T * np.asarray(normal(4, 2)).mean(0)
    np.testing.assert_allclose(maker.weight.grad.numpy(), wanted, rtol=1e-9)


def test_a_quantiser_that_passes_gradients_straight_through() -> None:
    codes, z = normal(4, 2).requires_grad_(), normal(5, 2, seed=1).requires_grad_()
    near = tw.cdist(z, codes).argmin(1)
    picked = codes[near]
    commitment = F.mse_loss(picked.detach(), z) * 0.25 + F.mse_loss(picked, z.detach())
    (commitment + (z + (picked - z).detach()).sum()).backward()

    gap = np.asarray(z.detach()) - np.asarray(codes.detach())[np.asarray(near)]
    assert z.grad is not None
    assert codes.grad is not None
    np.testing.assert_allclose(z.grad.numpy(), 1 + 0.25 * 2 * gap / gap.size)
    wanted = np.zeros((4, 2))
    np.add.at(wanted, np.asarray(near), -2 * gap / gap.size)
    np.testing.assert_allclose(codes.grad.numpy(), wanted)


def test_accumulated_gradients_are_those_of_the_whole_batch() -> None:
    net, x, y = nn.Linear(3, 2), normal(8, 3), tw.arange(8) % 2
    F.cross_entropy(net(x), y).backward()
    whole = net.weight.grad.clone()
    net.zero_grad()
    for part, labels in zip(x.split(2), y.split(2), strict=True):
        (F.cross_entropy(net(part), labels) / 4).backward()
    np.testing.assert_allclose(net.weight.grad.numpy(), whole.numpy(), rtol=1e-12)


def test_a_failed_step_loses_nothing() -> None:
    net = nn.Linear(3, 2)
    optimizer = tw.optim.Adam(net.parameters(), lr=0.1)
    x = normal(4, 3)

    def step(labels: list[int]) -> None:
        optimizer.zero_grad()
        F.cross_entropy(net(x), tw.tensor(labels)).backward()
        optimizer.step()

    step([0, 1, 0, 1])
    before = net.weight.detach().clone().numpy()
    with pytest.raises(IndexError, match=r"index 2 is out of range .* of size 2.*\n.*F.cross"):
        step([0, 1, 2, 1])
    np.testing.assert_array_equal(net.weight.detach().numpy(), before)
    step([0, 1, 1, 1])
    assert not np.array_equal(net.weight.detach().numpy(), before)
