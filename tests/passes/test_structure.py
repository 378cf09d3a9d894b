"""Kernels are keyed by structure: other sizes are other numbers, not other kernels."""

from __future__ import annotations

import talweg as tw
from talweg.loops.nest import Loop, LoopNest, statements
from talweg.loops.text import format_nest
from talweg.nn import functional as F

from .programs import known, plan_of


class Net(tw.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = tw.nn.Conv2d(1, 6, 5)
        self.norm = tw.nn.BatchNorm2d(6)
        self.last = tw.nn.Linear(6 * 12 * 12, 10)

    def forward(self, x: tw.Tensor) -> tw.Tensor:
        x = F.max_pool2d(tw.relu(self.norm(self.conv(x))), 2)
        return self.last(x.flatten(1))


def training_step(model: tw.nn.Module, batch: int) -> set[LoopNest]:
    model.zero_grad()
    labels = tw.tensor([n % 10 for n in range(batch)])
    labels.numpy()
    loss = F.cross_entropy(model(known(batch, 1, 28, 28)), labels)
    loss.backward()
    grads = [p.grad for p in model.parameters()]
    return {launch.nest for launch in plan_of(loss, *grads).launches}


def test_another_batch_size_is_the_same_code() -> None:
    model = Net()
    for value in (*model.parameters(), *model.buffers()):
        value.tolist()
    first, second, third = (training_step(model, batch) for batch in (32, 19, 27))
    assert second | third <= first | second
    assert third == second


def attention(length: int) -> set[LoopNest]:
    q, k, v = (known(2, 4, length, 8) for _ in range(3))
    weights = F.softmax(q @ k.transpose(-1, -2) * 0.35, -1)
    return {launch.nest for launch in plan_of(weights @ v).launches}


def test_another_sequence_length_is_the_same_code() -> None:
    seen = attention(20) | attention(33)
    for length in range(17, 60):
        assert attention(length) <= seen, length


def test_numbers_of_the_program_are_no_structure() -> None:
    x = known(6, 5)
    (first,), (second,) = (
        {launch.nest for launch in plan_of(x[start:] * factor).launches}
        for start, factor in ((1, 0.5), (2, 3.0))
    )
    assert first == second


GOLDEN = """\
def relu_add_dot(
    n0: int64, n1: int64, n2: int64,
    x0: input[float32, n0, n2],
    x1: input[float32, n1, n2],
    x2: input[float32, n1],
    out0: output[float32, n0, n1],
):
    for i0 in parallel(n0):
        for i1 in parallel(n1):
            s0: var[float32] = float32(0.0)
            for k0 in reduction(n2):
                s0.add(x0[i0, k0] * x1[i1, k0])
            v0: float32 = s0 + x2[i1]
            out0[i0, i1] = select(v0 <= float32(0.0), float32(0.0), v0)
"""


def test_the_kernel_of_a_layer_reads_as_one_would_write_it() -> None:
    (launch,) = plan_of(tw.relu(F.linear(known(3, 4), known(5, 4), known(5)))).launches
    assert format_nest(launch.nest) == GOLDEN


def test_last_axes_of_one_element_are_no_loops() -> None:
    first, second = (
        plan_of(known(*shape) * 2.0 + known(*shape)).launches[0].nest
        for shape in ((600, 50, 1, 1), (70, 300, 1, 1))
    )
    assert first == second
    assert sum(isinstance(s, Loop) for s in statements(first.body)) == 2
    rows = plan_of(known(600, 50, 1, 2) * 2.0).launches[0].nest
    assert sum(isinstance(s, Loop) for s in statements(rows.body)) == 4
