"""What a Module registers, iterates over, converts, copies and prints."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import nn
from talweg.base.errors import DTypeError, InvalidValue


class Block(nn.Module):
    """A layer inside, a parameter, a buffer and a transient buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.scale = nn.Parameter(tw.ones(2))
        self.register_buffer("seen", tw.tensor(0))
        self.register_buffer("cache", tw.zeros(1), persistent=False)

    def forward(self, x: tw.Tensor) -> Any:
        return self.inner(x) * self.scale


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = Block()
        self.act = nn.ReLU()
        self.second = self.first

    def forward(self, x: tw.Tensor) -> Any:
        return self.act(self.first(x))


def names(pairs: Any) -> list[str]:
    return [name for name, _ in pairs]


def test_members_have_dotted_names_and_stand_once() -> None:
    net = Net()
    assert names(net.named_parameters()) == [
        "first.scale",
        "first.inner.weight",
        "first.inner.bias",
    ]
    assert names(net.named_buffers()) == ["first.seen", "first.cache"]
    assert names(net.named_modules()) == ["", "first", "first.inner", "act"]
    assert names(net.named_children()) == ["first", "act"]
    assert names(net.named_parameters("root", recurse=True))[0] == "root.first.scale"
    assert names(net.first.named_parameters(recurse=False)) == ["scale"]
    assert "second.scale" in names(net.named_parameters(remove_duplicate=False))
    assert list(net.state_dict()) == [
        f"{block}.{name}"
        for block in ("first", "second")
        for name in ("scale", "seen", "inner.weight", "inner.bias")
    ]


def test_members_by_dotted_name() -> None:
    net = Net()
    assert net.get_submodule("first.inner") is net.first.inner
    assert net.get_submodule("") is net
    assert net.get_parameter("first.inner.bias") is net.first.inner.bias
    assert net.get_buffer("first.seen") is net.first.seen
    for call, name in (
        (net.get_submodule, "first.scale"),
        (net.get_parameter, "first.inner"),
        (net.get_buffer, "first.scale"),
        (net.get_submodule, "third"),
    ):
        with pytest.raises(AttributeError, match=name.rpartition(".")[2]):
            call(name)


def test_assignment_moves_a_name_between_kinds() -> None:
    m = nn.Module()
    m.x = 3
    m.x = nn.Parameter(tw.zeros(2))
    assert "x" in dict(m.named_parameters())
    assert "x" not in m.__dict__
    m.x = nn.Linear(1, 1)
    assert not dict(m.named_parameters(recurse=False))
    assert isinstance(m.x, nn.Linear)
    m.x = nn.Buffer(tw.zeros(2), persistent=False)
    assert names(m.named_buffers()) == ["x"]
    assert "x" not in m.state_dict()
    m.x = tw.ones(3)
    assert m.get_buffer("x").shape == (3,)
    del m.x
    assert not hasattr(m, "x")
    with pytest.raises(AttributeError, match="'Module' object has no attribute 'x'"):
        _ = m.x


def test_a_parameters_place_takes_parameters_and_none_only() -> None:
    m = nn.Linear(2, 2)
    with pytest.raises(DTypeError, match="'Tensor' as parameter 'weight'"):
        m.weight = tw.zeros(2, 2)
    m.bias = None
    assert names(m.named_parameters()) == ["weight"]
    assert m(tw.ones(1, 2)).shape == (1, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.register_buffer("a.b", tw.zeros(1)), "can't contain"),
        (lambda m: m.register_parameter("", None), "empty string"),
        (lambda m: m.register_buffer("forward", tw.zeros(1)), "already exists"),
        (lambda m: m.add_module("weight", nn.ReLU()), "already exists"),
        (
            lambda m: m.register_parameter("p", nn.Parameter(tw.zeros(1)).requires_grad_() * 2),
            "Parameter",
        ),
        (lambda m: m.register_buffer("b", 3), "'int' object to buffer 'b'"),
        (lambda m: m.add_module("c", 3), "int is not a Module"),
    ],
)
def test_wrong_registration(call: Any, message: str) -> None:
    with pytest.raises((InvalidValue, DTypeError), match=message):
        call(nn.Linear(2, 2))


def test_without_init_the_error_says_so() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\).*Forgetful"):
        Forgetful()


def test_without_forward_the_error_names_the_class() -> None:
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty"):
        Empty()(1)


def test_apply_visits_children_first() -> None:
    seen: list[str] = []
    net = Net()
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "Block", "ReLU", "Net"]


def test_conversion_keeps_identity_integers_and_gradients() -> None:
    net = Net()
    weight = net.first.inner.weight
    net(tw.ones(1, 3)).sum().backward()
    assert net.double() is net
    assert net.first.inner.weight is weight
    assert weight.dtype is tw.float64
    assert weight.grad.dtype is tw.float64
    assert net.first.cache.dtype is tw.float64
    assert net.first.seen.dtype is tw.int64
    assert weight.requires_grad
    assert weight.is_leaf
    for convert, dtype in (
        (net.half, tw.float16),
        (net.bfloat16, tw.bfloat16),
        (net.float, tw.float32),
    ):
        assert next(convert().parameters()).dtype is dtype
    for arguments in ((tw.float64,), ("cpu", tw.float64), (tw.zeros(1, dtype=tw.float64),)):
        assert next(net.float().to(*arguments).parameters()).dtype is tw.float64
    assert next(net.to(dtype=tw.float32).to("cpu").parameters()).dtype is tw.float32
    with pytest.raises(DTypeError, match="int32"):
        net.to(tw.int32)


def test_train_and_eval_reach_every_module() -> None:
    net = Net()
    assert all(m.training for m in net.modules())
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())


def test_requires_grad_and_zero_grad() -> None:
    net = Net()
    x = tw.ones(1, 3)
    (net(x).sum() + net.first.inner.weight.sum()).backward()
    net.zero_grad(set_to_none=False)
    assert not net.first.inner.weight.grad.any()
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert not net(x).requires_grad


def test_deepcopy_and_pickle_are_independent_and_keep_sharing() -> None:
    net = Net()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin.first is twin.second
        assert isinstance(twin.first.scale, nn.Parameter)
        before = net.first.scale.tolist()
        with tw.no_grad():
            twin.first.scale.fill_(7)
        assert net.first.scale.tolist() == before
        x = tw.randn(2, 3)
        with tw.no_grad():
            twin.first.scale.fill_(1)
        assert tw.equal(twin(x), net(x))
        assert twin.first.scale.requires_grad


def test_text() -> None:
    assert repr(Net()) == (
        "Net(\n  (first): Block(\n    (inner): Linear(in_features=3, out_features=2, bias=True)\n"
        "  )\n  (act): ReLU()\n  (second): Block(\n"
        "    (inner): Linear(in_features=3, out_features=2, bias=True)\n  )\n)"
    )
    assert "inner" in dir(Block())
    assert "scale" in dir(Block())


def test_parameter() -> None:
    data = tw.zeros(2)
    p = nn.Parameter(data)
    assert p.requires_grad
    assert p.is_leaf
    assert isinstance(p, tw.Tensor)
    with tw.no_grad():
        p.add_(1)
    assert data.tolist() == [1, 1]
    assert type(p * 2) is tw.Tensor
    assert not nn.Parameter(tw.tensor([1]), requires_grad=False).requires_grad
    grown = nn.Parameter(tw.ones(2, requires_grad=True) * 3)
    assert grown.is_leaf


def test_gradients_reach_parameters_by_the_chain_rule() -> None:
    net = Net()
    x = tw.tensor([[1.0, 2.0, 3.0]])
    net(x).sum().backward()
    inner = net.first.inner
    hidden = inner.weight.detach().numpy() @ x.numpy()[0] + inner.bias.detach().numpy()
    on = (hidden > 0).astype(np.float32)
    np.testing.assert_allclose(net.first.scale.grad.numpy(), hidden * on, rtol=1e-5)
    np.testing.assert_allclose(inner.bias.grad.numpy(), on, rtol=1e-6)
    np.testing.assert_allclose(inner.weight.grad.numpy(), np.outer(on, x.numpy()), rtol=1e-6)


def test_modules_registered_by_name_and_emptied() -> None:
    net = nn.Module()
    net.register_module("inner", nn.Linear(2, 3))
    assert [n for n, _ in net.named_parameters()] == ["inner.weight", "inner.bias"]
    net.inner.bias.grad = tw.ones(3)
    assert net.to_empty(device="cpu") is net
    assert net.inner.weight.shape == (3, 2)
    assert net.inner.weight.requires_grad


def test_values_are_not_shared_between_processes() -> None:
    with pytest.raises(NotImplementedError, match="copies"):
        tw.nn.Linear(2, 1).share_memory()
