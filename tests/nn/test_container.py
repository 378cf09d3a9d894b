"""Sequences and dicts of Modules and Parameters behave as Python's."""

from __future__ import annotations

import pytest

import talweg as tw
from talweg import nn
from talweg.base.errors import DTypeError, IndexOutOfRange


def test_sequential_calls_in_order() -> None:
    model = nn.Sequential(nn.Threshold(0.0, -1.0), nn.Hardtanh(-0.5, 0.5))
    assert model(tw.tensor([-3.0, 0.2])).tolist() == pytest.approx([-0.5, 0.2])
    assert nn.Sequential()(3) == 3


def test_sequential_as_a_list() -> None:
    a, b, c, d = (nn.Linear(i, i) for i in range(1, 5))
    model = nn.Sequential(a, b, c)
    assert model[0] is a
    assert model[-1] is c
    assert list(model[1:]) == [b, c]
    assert len(model) == 3
    assert model.append(d) is model
    assert model.pop(0) is a
    assert list(model) == [b, c, d]
    assert list(dict(model.named_children())) == ["0", "1", "2"]
    model.insert(1, a)
    assert list(model) == [b, a, c, d]
    model[0] = d
    del model[1:3]
    assert list(model) == [d, d]
    assert len(list(model.parameters())) == 2
    assert len(nn.Sequential(a) + nn.Sequential(b, c)) == 3
    assert len(nn.Sequential(a, b) * 2) == 4
    with pytest.raises(IndexOutOfRange, match="5 is out of range for 2 entries"):
        model[5]


def test_sequential_of_names() -> None:
    model = nn.Sequential({"linear": nn.Linear(2, 1), "act": nn.ReLU()})
    assert list(model.state_dict()) == ["linear.weight", "linear.bias"]
    assert isinstance(model.act, nn.ReLU)
    assert repr(model[1:]) == "Sequential(\n  (act): ReLU()\n)"


def test_module_list() -> None:
    layers = nn.ModuleList([nn.Linear(2, 2), nn.ReLU()])
    layers += [nn.Tanh()]
    layers.extend([nn.Sigmoid()])
    layers.insert(0, nn.Identity())
    kinds = [type(m).__name__ for m in layers]
    assert kinds == ["Identity", "Linear", "ReLU", "Tanh", "Sigmoid"]
    assert list(layers.state_dict()) == ["1.weight", "1.bias"]
    assert isinstance(layers[1:3], nn.ModuleList)
    assert len(layers + layers[1:2]) == 6
    with pytest.raises(NotImplementedError, match="ModuleList"):
        layers(1)
    with pytest.raises(DTypeError, match="int is not a Module"):
        layers.append(3)


def test_module_dict() -> None:
    d = nn.ModuleDict([("a", nn.Linear(1, 1))])
    d["b"] = nn.ReLU()
    d.update({"c": nn.Tanh()})
    assert list(d) == list(d.keys()) == ["a", "b", "c"]
    assert "b" in d
    assert len(d) == 3
    assert isinstance(d.pop("b"), nn.ReLU)
    assert [type(m).__name__ for m in d.values()] == ["Linear", "Tanh"]
    assert list(d.state_dict()) == ["a.weight", "a.bias"]
    del d["a"]
    assert dict(d.items()).keys() == {"c"}
    d.clear()
    assert not len(d)


def test_parameter_list_and_dict() -> None:
    rows = nn.ParameterList([tw.zeros(2), nn.Parameter(tw.ones(3))])
    rows.append(tw.ones(1))
    rows += [tw.ones(4)]
    assert [p.shape for p in rows] == [(2,), (3,), (1,), (4,)]
    assert all(isinstance(p, nn.Parameter) for p in rows.parameters())
    rows[0] = tw.ones(5)
    assert rows[0].shape == (5,)
    assert len(rows[1:]) == 3
    assert "(1): Parameter containing: [torch.FloatTensor of size 3]" in repr(rows)
    rows.append(nn.ParameterList([tw.zeros(6)]))
    rows.append(3)
    assert [len(rows), rows[-1], len(list(rows.parameters()))] == [6, 3, 5]
    assert list(rows.state_dict())[-1] == "4.0"

    table = nn.ParameterDict({"w": tw.zeros(2, 3)})
    table["b"] = tw.zeros(3)
    assert list(table) == ["w", "b"]
    assert list(table.state_dict()) == ["w", "b"]
    assert table.pop("b").shape == (3,)
    assert "b" not in table
    assert "(w): Parameter containing: [torch.FloatTensor of size 2x3]" in repr(table)
