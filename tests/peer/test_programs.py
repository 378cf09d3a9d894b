"""Whole training programs, run by both libraries from the same weights: the same losses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from peer import torch

import talweg as tw

Program = Callable[[Any], Iterator[Any]]


def library(module: Any) -> SimpleNamespace:
    """Return a library under the short names that programs use, and deterministic data."""

    def normal(*shape: int, seed: int = 0) -> Any:
        return module.tensor(np.random.RandomState(seed).standard_normal(shape).astype("float32"))

    def seeded(model: Any, seed: int = 0) -> Any:
        random = np.random.RandomState(seed)
        with module.no_grad():
            for p in model.parameters():
                drawn = random.standard_normal(tuple(p.shape)).astype("float32")
                p.copy_(module.tensor(drawn) / max(p.shape[-1], 3) ** 0.5)
        return model

    return SimpleNamespace(
        t=module, nn=module.nn, F=module.nn.functional, optim=module.optim,
        schedules=module.optim.lr_scheduler, normal=normal, seeded=seeded,
    )  # fmt: skip


def gan(a: SimpleNamespace) -> Iterator[Any]:
    nn = a.nn
    make = a.seeded(nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(0.2, True), nn.Linear(8, 4)), 1)
    judge = a.seeded(nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1)), 2)
    first = a.optim.Adam(make.parameters(), lr=0.02, betas=(0.5, 0.999))
    second = a.optim.RMSprop(judge.parameters(), lr=0.01)
    label, loss = a.t.full((6, 1), 1.0), nn.BCEWithLogitsLoss()
    for i in range(4):
        judge.zero_grad()
        real = loss(judge(a.normal(6, 4, seed=i)), label.fill_(1.0))
        real.backward()
        fake = make(a.normal(6, 3, seed=50 + i))
        false = loss(judge(fake.detach()), label.fill_(0.0))
        false.backward()
        second.step()
        make.zero_grad()
        fooled = loss(judge(fake), label.fill_(1.0))
        fooled.backward()
        first.step()
        yield real.item() + false.item()
        yield fooled


def critic_with_penalty(a: SimpleNamespace) -> Iterator[Any]:
    nn = a.nn
    critic = a.seeded(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)))
    optimizer = a.optim.Adagrad(critic.parameters(), lr=0.1)
    for i in range(4):
        real, fake = a.normal(5, 4, seed=i), a.normal(5, 4, seed=20 + i) * 2
        between = (0.3 * real + 0.7 * fake).requires_grad_(True)
        d = critic(between)
        (g,) = a.t.autograd.grad(
            outputs=d, inputs=between, grad_outputs=a.t.ones(d.size()), create_graph=True
        )
        penalty = ((g.view(g.size(0), -1).norm(2, dim=1) - 1) ** 2).mean()
        loss = critic(fake).mean() - critic(real).mean() + 10 * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss


def convolutional(a: SimpleNamespace) -> Iterator[Any]:
    nn, x = a.nn, a.normal(8, 1, 8, 8)
    y = a.t.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    net = a.seeded(
        nn.Sequential(
            *(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
            *(nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding="same"), nn.GroupNorm(2, 6), nn.ELU()),
            *(nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(24, 3)),
        )
    )
    groups = [{"params": net[:7].parameters()}, {"params": net[9].parameters(), "lr": 0.05}]
    optimizer = a.optim.SGD(groups, lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-3)
    schedule = a.schedules.OneCycleLR(optimizer, max_lr=[0.02, 0.1], total_steps=8)
    average = copy.deepcopy(net)
    for _ in range(6):
        loss = a.F.cross_entropy(net(x), y, label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        yield nn.utils.clip_grad_norm_(net.parameters(), max_norm=1.0)
        optimizer.step()
        schedule.step()
        with a.t.no_grad():
            for old, new in zip(average.parameters(), net.parameters(), strict=True):
                old.mul_(0.9).add_(new, alpha=0.1)
        yield loss
    net.eval()
    average.load_state_dict(net.state_dict() | dict(average.named_parameters()))
    with a.t.no_grad():
        yield a.t.max(net(x).data, 1)[1].eq(y.view(-1)).sum().item()
        yield average.eval()(x)


def attention(a: SimpleNamespace) -> Iterator[Any]:
    nn, F, t = a.nn, a.F, a.t
    words = t.tensor(np.random.RandomState(0).randint(0, 9, (4, 6)))
    padded = t.arange(6)[None] >= t.tensor([6, 4, 5, 2])[:, None]
    table, joint = a.seeded(nn.Embedding(9, 8)), a.seeded(nn.Linear(8, 24, bias=False), 1)
    norm, out = nn.LayerNorm(8), a.seeded(nn.Linear(8, 9), 2)
    params = [p for m in (table, joint, norm, out) for p in m.parameters()]
    optimizer = a.optim.AdamW(params, lr=0.01)
    for _ in range(4):
        x = table(words)
        q, k, v = joint(norm(x)).split(8, dim=2)
        q, k, v = (part.view(4, 6, 2, 4).transpose(1, 2) for part in (q, k, v))
        scores = t.einsum("bhqd,bhkd->bhqk", q, k) / 2
        scores = scores.masked_fill(padded[:, None, None, :], float("-inf"))
        x = x + (F.softmax(scores, dim=-1) @ v).transpose(1, 2).contiguous().view(4, 6, -1)
        logits = out(x)[:, :-1].reshape(-1, 9)
        target = words[:, 1:].masked_fill(padded[:, 1:], -100)
        loss = F.cross_entropy(logits, target.reshape(-1), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss
    yield logits.topk(3, dim=1)[0]


def actor_critic(a: SimpleNamespace) -> Iterator[Any]:
    nn, t = a.nn, a.t
    body, head = a.seeded(nn.Linear(3, 8)), a.seeded(nn.Linear(8, 3), 1)
    optimizer = a.optim.NAdam([*body.parameters(), *head.parameters()], lr=0.02)
    state, actions = a.normal(6, 3), t.tensor([[0], [1], [1], [0], [1], [0]])
    for _ in range(4):
        out = head(t.relu(body(state)))
        probabilities, value = t.softmax(out[:, :2], -1), out[:, 2]
        returns, total = t.zeros(6), 0.0
        for i in reversed(range(6)):
            total = state[i, 0] + 0.9 * total
            returns[i] = total
        gain = (returns - value.detach() - returns.mean()) / (returns.std() + 1e-8)
        chosen = probabilities.gather(1, actions).squeeze(1).log()
        entropy = -(probabilities * probabilities.log()).sum(1).mean()
        loss = -(chosen * gain).mean() + a.F.smooth_l1_loss(value, returns) - 0.01 * entropy
        optimizer.zero_grad()
        loss.backward()
        for p in body.parameters():
            p.grad.data.clamp_(-0.1, 0.1)
        optimizer.step()
        yield loss


def picture(a: SimpleNamespace) -> Iterator[Any]:
    """An image is fitted to the Gram matrix of another, by L-BFGS."""
    nn, t = a.nn, a.t
    features = a.seeded(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)))
    for p in features.parameters():
        p.requires_grad_(False)

    def gram(x: Any) -> Any:
        f = features(x).view(4, -1)
        return f.mm(f.t()).div(f.numel())

    wanted = gram(t.sigmoid(a.normal(1, 2, 8, 8, seed=3))).detach()
    image = t.sigmoid(a.normal(1, 2, 8, 8)).clone().requires_grad_(True)
    optimizer = a.optim.LBFGS([image], lr=0.5, max_iter=4, line_search_fn="strong_wolfe")
    seen: list[Any] = []

    def closure() -> Any:
        with t.no_grad():
            image.clamp_(0, 1)
        optimizer.zero_grad()
        loss = a.F.mse_loss(gram(image), wanted) * 100
        loss.backward()
        seen.append(loss.item())
        return loss

    for _ in range(3):
        optimizer.step(closure)
    yield from seen[:6]


@pytest.mark.parametrize(
    "program", [gan, critic_with_penalty, convolutional, attention, actor_critic, picture]
)
def test_the_same_losses(program: Program) -> None:
    pairs = zip(program(library(tw)), program(library(torch)), strict=True)
    for step, (mine, theirs) in enumerate(pairs):
        got, wanted = (np.asarray(getattr(v, "data", v)) for v in (mine, theirs))
        np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=1e-5, err_msg=f"value {step}")
