"""Programs in the cache folder: the next process neither plans a Graph nor schedules its nests.

What is kept of a Program is its outline: which kernels run, with which arguments, on what memory.
It names objects of the folder by the hash of their code, and is text: nothing in it is run. As for
kernels, an entry counts only if it is whole and was made from this Graph by these files of talweg,
for this CPU, and it appears at once or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, final
from weakref import WeakValueDictionary

from talweg.base import dtypes
from talweg.base.deferred import deferred
from talweg.base.errors import GraphError
from talweg.base.open import Open
from talweg.codegen.cpu import host
from talweg.codegen.signature import Signature
from talweg.engine.counters import count
from talweg.engine.program import Copied, Launched, Program, Shared
from talweg.engine.schedules import found_schedules
from talweg.engine.workers import COMPILER, disk_cache, state_of
from talweg.ir.node import Graph, input_node, make_node
from talweg.ir.text import print_graph
from talweg.ir.types import TensorType, tensor_type
from talweg.passes.donation import Donation
from talweg.passes.places import Place
from talweg.runtime.executor import Executor
from talweg.runtime.jit import Kernel

if TYPE_CHECKING:
    from talweg.passes import apart
    from talweg.passes.plan import Plan
else:
    apart = deferred("talweg.passes.apart")

_LIMIT = 512  # entries that one process writes: a program whose Graphs never repeat fills no disk
_written: set[bytes] = set()
_KERNELS: WeakValueDictionary[tuple[str, str], Kernel] = WeakValueDictionary()


@final
class _Kept(NamedTuple):
    """What was kept of a Plan, see `program.Outline`."""

    arena: int
    inputs: tuple[TensorType, ...]
    buffers: tuple[TensorType, ...]
    results: tuple[Place, ...]
    donation: Donation


@final
class _Label:
    """Stands for a launch of a Plan, which is made when somebody asks."""

    __slots__ = ("_number", "_plan")

    def __init__(self, plan: Callable[[], Plan], number: int) -> None:
        self._plan, self._number = plan, number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plan().launches[self._number], name)


def without_values(graph: Graph) -> Graph:
    """Return the Graph anew, made of Nodes that hold no value."""
    made = {node: input_node(node.type) for node in graph.inputs}
    for node in graph.order:
        inputs = tuple(made[i] for i in node.inputs)
        made[node] = make_node(node.op, inputs, node.type, node.source)
    return Graph([made[i] for i in graph.inputs], [made[o] for o in graph.outputs])


def opened(graph: Graph) -> Graph:
    """Return the Graph without values whose Ops have their numbers open, in order."""
    made = {node: input_node(node.type) for node in graph.inputs}
    count = 0
    for node in graph.order:
        op = node.op
        if op.numbered:
            op = op.opened(count)
            count += len(op.numbers)
        made[node] = make_node(op, tuple(made[i] for i in node.inputs), node.type, node.source)
    return Graph([made[i] for i in graph.inputs], [made[o] for o in graph.outputs])


def is_open(graph: Graph) -> bool:
    """Whether a Graph is what `opened` returns of one that has numbers."""
    return any(isinstance(number, Open) for number in graph.numbers)


@cache
def _state() -> str:
    return state_of(*COMPILER, "base", "ir", "ops", "passes", "engine", "runtime")


def _key_of(graph: Graph, fixed: frozenset[int] = frozenset()) -> bytes:
    """All that shapes the Program of a Graph; nothing where an Op has no text."""
    try:
        text = print_graph(graph)
    except GraphError:
        return b""
    kept = f" {sorted(fixed)}" if fixed else ""
    return disk_cache().key(text, f"program {_state()} {found_schedules()}{kept}", host())


def keep(graph: Graph, plan: Plan, program: Program, fixed: frozenset[int]) -> None:
    """Keep a Program that calls no function of the host.

    Args:
        graph: what was planned.
        plan: what was made of it.
        program: of the Plan.
        fixed: inputs that stay what they are.
    """
    key = _key_of(graph, fixed) if len(_written) < _LIMIT else b""
    if not key or key in _written:
        return
    _written.add(key)
    numbers: dict[Any, int] = {}
    launches = []
    copied = {id(s.label): s.copied or s.shared for s in (*program.copied, *program.shared)}
    for part in (p for p in program.parts if isinstance(p, Executor)):
        for launch, sizes in zip(part.launches, part.sizes, strict=True):
            kernel: Any = launch.kernel
            number = numbers.setdefault(kernel, len(numbers))
            places = [[place.kind, place.at, place.offset] for place in launch.label.places]
            values, copy = [*map(_shown, launch.values)], copied.get(id(launch.label))
            launches.append([number, places, values, sizes, copy])
    described = {
        "arena": program.outline.arena,
        "buffers": [[t.dtype.name, t.shape] for t in plan.buffers],
        "results": [[place.kind, place.at] for place in plan.results],
        "donation": plan.donation,
        "copies": [t.nbytes for t in program.outline.inputs[len(plan.inputs) :]],
        "kernels": [[kernel.digest, asdict(kernel.signature)] for kernel in numbers],
        "launches": launches,
    }
    disk_cache().write(key, json.dumps(described).encode())


def find(
    graph: Graph, scalars: Sequence[bool], fixed: frozenset[int] = frozenset()
) -> Program | None:
    """Return the Program that an earlier process kept of a Graph, None if there is none.

    Args:
        graph: the Program keeps nothing of it that holds a value.
        scalars: for each input, whether it is given as a number.
        fixed: inputs that stay what they are.
    """
    key = _key_of(graph, fixed)
    content = disk_cache().read(key) if key else None
    if content is None:
        return None
    found = json.loads(content)
    kernels = _kernels(found["kernels"])
    if kernels is None:
        return None
    bare = without_values(graph)
    plan = cache(lambda: apart.plan_graph(bare))
    steps = [
        Launched(
            kernels[number],
            _places(at),
            _numbers(values),
            _Label(plan, n),
            tuple(sizes),
            Copied(copy[0], tuple(copy[1]), copy[2]) if copy and len(copy) == 3 else None,
            Shared(*copy) if copy and len(copy) == 2 else None,
        )
        for n, (number, at, values, sizes, copy) in enumerate(found["launches"])
    ]
    copies = [tensor_type(dtypes.uint8, (nbytes,)) for nbytes in found["copies"]]
    outline = _Kept(
        found["arena"],
        (*(n.type for n in graph.inputs), *copies),
        tuple(tensor_type(dtypes.BY_NAME[name], tuple(n)) for name, n in found["buffers"]),
        tuple(_places(found["results"])),
        _donation(*found["donation"]),
    )
    _written.add(key)
    count(plans=1, loaded=len(kernels))
    numbers = len(graph.numbers) if is_open(graph) else 0
    return Program(outline, steps, (*scalars, *[False] * len(copies)), plan, numbers)


def _donation(
    lives: Sequence[int], written: Sequence[int], pairs: Sequence[tuple[int, int]], checked: int
) -> Donation:
    return Donation(tuple(lives), tuple(written), tuple((i, j) for i, j in pairs), checked)


def _kernels(rows: Sequence[tuple[str, dict[str, Any]]]) -> list[Kernel] | None:
    kernels: list[Kernel] = []
    for digest, fields in rows:
        name = digest, fields["name"]
        kernel = _KERNELS.get(name)
        if kernel is None:
            code = disk_cache().object(digest)
            if code is None:
                return None
            fields["messages"] = tuple(fields["messages"])
            kernel = _KERNELS.setdefault(name, Kernel(code, Signature(**fields)))
        kernels.append(kernel)
    return kernels


def _places(rows: Sequence[Sequence[Any]]) -> list[Place]:
    return [Place(*row) for row in rows]


def _shown(value: Any) -> Any:
    if isinstance(value, Open):
        return [value.place]
    return [value.real, value.imag] if isinstance(value, complex) else value


def _numbers(values: Sequence[Any]) -> list[Any]:
    return [_number(*v) if isinstance(v, list) else v for v in values]


def _number(first: Any, *imaginary: float) -> complex:
    return complex(first, *imaginary) if imaginary else Open(first)
