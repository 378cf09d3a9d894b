"""The layers: imports go down, never sideways, and stand at the top of a file.

The table below is the architecture. A package may import the packages (or single modules) it
names, and itself. Everything is read from the source: nothing is imported, so a broken module
cannot hide behind another one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "talweg"

COMPILER = ("passes", "schedule", "codegen")
ENGINE = ("base", "ir", "loops", "ops", "fn", "autodiff", *COMPILER, "runtime")
BUILDING = (
    *("nn", "optim", "data", "models", "distributions", "array_api", "cpu", "utils", "training"),
)
USER = ("base", "fn", "autodiff", "engine")

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "base": (),
    "ir": ("base",),
    "loops": ("base",),
    "ops": ("base", "ir", "loops"),
    "fn": ("base", "ir", "ops"),
    "autodiff": ("base", "ir"),
    "passes": ("base", "ir", "loops", "ops.kinds", "ops.strides", "ops.halves"),
    "schedule": ("base", "loops"),
    "codegen": ("base", "loops", "schedule"),
    "runtime": ("base",),
    "engine": ENGINE,
    "capture": (*ENGINE, "engine"),
    "nn": USER,
    "optim": (*USER, "nn.module", "nn.normalization"),
    "data": USER,
    "distributions": USER,
    "array_api": ("base", "fn", "engine"),
    "models": (*USER, "nn"),
    "cpu": (*USER, "optim"),
    "utils": (*USER, "data"),
    "training": (*USER, "nn", "optim"),
    "frontends": (*USER, *BUILDING, "capture", ""),
    # `import talweg` and its single files such as `talweg.autograd`; the programs that stand on it.
    "": (*ENGINE, "engine", "capture", *BUILDING),
    "tools": (*ENGINE, "engine", "capture", *BUILDING, "frontends", ""),
}

# Inside these packages the parts do not import each other; the named parts are for all of them.
SHARED_PARTS: dict[str, tuple[str, ...]] = {"ops": ("kinds", "strides"), "frontends": ()}

# What may be imported from outside without `base.extras.require`.
OUTSIDE: dict[str, tuple[str, ...]] = {"base": ("numpy",)}
HARD_DEPENDENCIES = ("numpy", "llvmlite")
BY_NAME = ("import_module", "deferred")  # functions that import the module they are given

FILE_LINES = 550
FUNCTION_LINES = 75


@dataclass(frozen=True)
class Import:
    """One imported module or name: `module` is dotted, `depth` counts enclosing functions."""

    module: str
    line: int
    depth: int


@dataclass(frozen=True, eq=False)
class Source:
    """One file of the package: its dotted name below `talweg`, and what it holds."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """Its row in the table; empty for `talweg` itself and for single files beside it.

        `__main__` is the command, one of the tools.
        """
        if self.name == "__main__":
            return "tools"
        inside = "." in self.name or self.path.name == "__init__.py"
        return self.name.partition(".")[0] if inside else ""

    @property
    def part(self) -> str:
        """The file (of `ops`) or folder (of `frontends`) it belongs to; empty for the package."""
        return self.name.partition(".")[2].partition(".")[0]


def read_package(root: Path) -> dict[str, Source]:
    sources = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        sources[name] = Source(name, path, text, ast.parse(text))
    return sources


def for_types_only(node: ast.If) -> bool:
    return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


@cache
def imports_of(source: Source) -> tuple[Import, ...]:
    """Every import that runs, also `import_module("literal")` and `deferred("literal")`.

    Relative ones are made absolute.
    """
    found = []
    stack: list[tuple[ast.AST, int]] = [(source.tree, 0)]
    while stack:
        node, depth = stack.pop()
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and for_types_only(node):
            children: Iterable[ast.AST] = node.orelse
        else:
            children = ast.iter_child_nodes(node)
            line = getattr(node, "lineno", 0)
            found += [Import(module, line, depth) for module in imported_by(node, source)]
        stack += [(child, depth + inside) for child in children]
    return tuple(sorted(found, key=lambda item: item.line))


def imported_by(node: ast.AST, source: Source) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = [node.module] if node.module else []
        if node.level:
            here = ["talweg", *filter(None, source.name.split("."))]
            up = node.level - (source.path.name == "__init__.py")
            base = here[: len(here) - up] + base
        return [".".join([*base, alias.name]) for alias in node.names]
    if isinstance(node, ast.Call) and name_of(node.func).endswith(BY_NAME):
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return [first.value]
    return []


def name_of(function: ast.expr) -> str:
    """The last part of a dotted name; empty for what has none."""
    return getattr(function, "attr", "") or getattr(function, "id", "")


def target_of(module: str, sources: dict[str, Source]) -> str | None:
    """The file of the package that an import reaches: the longest prefix that is one."""
    if module.split(".")[0] != "talweg":
        return None
    name = module.partition(".")[2]
    while name not in sources and name:
        name = name.rpartition(".")[0]
    return name


def covered(target: str, allowed: tuple[str, ...]) -> bool:
    return any(target == name or (name != "" and target.startswith(name + ".")) for name in allowed)


def misplaced_imports(sources: dict[str, Source]) -> Iterator[str]:
    for source in sources.values():
        for item in imports_of(source):
            where = f"{source.path.name}:{item.line}: {source.name or 'talweg'}"
            target = target_of(item.module, sources)
            if item.depth:
                yield f"{where} imports {item.module} inside a function"
            if target is None:
                yield from outside(source, item, where)
            elif source.package not in MAY_IMPORT:
                yield f"{where}: the package {source.package!r} has no row in the table"
            elif (below := sources[target].package) != source.package:
                if not covered(target if below else "", MAY_IMPORT[source.package]):
                    yield f"{where} imports {target or 'talweg'}: not below it"
            elif source.package in SHARED_PARTS and source.part:
                part = target.partition(".")[2].partition(".")[0]
                if part not in (source.part, *SHARED_PARTS[source.package]):
                    yield f"{where} imports {target}: parts of {source.package} stand alone"


def outside(source: Source, item: Import, where: str) -> Iterator[str]:
    top = item.module.split(".")[0]
    allowed = OUTSIDE.get(source.package, HARD_DEPENDENCIES)
    if top not in sys.stdlib_module_names and top not in allowed:
        yield f"{where} imports {top}: optional packages come through base.extras.require"


def import_cycle(sources: dict[str, Source]) -> list[str]:
    graph: dict[str, set[str]] = {
        name: {
            target
            for item in imports_of(source)
            if (target := target_of(item.module, sources)) is not None and target != name
        }
        for name, source in sources.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [name or "talweg" for name in error.args[1]]
    return []


@cache
def functions_of(source: Source) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, ...]:
    found = (ast.FunctionDef, ast.AsyncFunctionDef)
    return tuple(node for node in ast.walk(source.tree) if isinstance(node, found))


def too_long(sources: dict[str, Source]) -> Iterator[str]:
    for source in sources.values():
        lines = source.text.count("\n")
        if lines > FILE_LINES:
            yield f"{source.path.name}: {lines} lines, the cap is {FILE_LINES}"
        for function in functions_of(source):
            length = (function.end_lineno or 0) - function.lineno + 1
            if length > FUNCTION_LINES:
                yield (
                    f"{source.path.name}:{function.lineno}: {function.name} has {length} lines, "
                    f"the cap is {FUNCTION_LINES}"
                )


def missing_annotations(sources: dict[str, Source]) -> Iterator[str]:
    for source in sources.values():
        for function in functions_of(source):
            spec = function.args
            arguments = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg]
            missing = [
                argument.arg
                for index, argument in enumerate(arguments)
                if argument is not None
                and argument.annotation is None
                and not (index == 0 and argument.arg in ("self", "cls", "mcs"))
            ]
            missing += [] if function.returns is not None else ["return"]
            if missing:
                names = ", ".join(missing)
                yield f"{source.path.name}:{function.lineno}: {function.name} leaves out {names}"


@pytest.fixture(scope="module")
def package() -> dict[str, Source]:
    return read_package(PACKAGE)


def test_imports_go_down(package: dict[str, Source]) -> None:
    assert list(misplaced_imports(package)) == []


def test_no_import_cycle(package: dict[str, Source]) -> None:
    assert import_cycle(package) == []


def test_files_and_functions_stay_short(package: dict[str, Source]) -> None:
    assert list(too_long(package)) == []


def test_every_function_is_annotated(package: dict[str, Source]) -> None:
    assert list(missing_annotations(package)) == []


def test_the_table_has_no_cycle_itself() -> None:
    rows = {
        row: {name.partition(".")[0] for name in allowed} for row, allowed in MAY_IMPORT.items()
    }
    assert len(list(TopologicalSorter(rows).static_order())) == len(MAY_IMPORT)


# The checker is checked on small packages made up for the purpose.


def made_up(root: Path, files: dict[str, str]) -> dict[str, Source]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read_package(root)


CLEAN = {
    "__init__.py": "from talweg.engine.tensor import Tensor\nfrom talweg import autograd, nn\n",
    "base/__init__.py": "",
    "base/dtypes.py": "import os\nimport numpy as np\n",
    "ir/__init__.py": "",
    "ir/node.py": "from talweg.base import dtypes\nfrom talweg.ir.types import T\n",
    "ir/types.py": "from typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n    from talweg.ir.node import Node\n    from talweg.engine import x\n",
    "ops/__init__.py": "from talweg.ops import view, reduce\n",
    "ops/kinds.py": "from talweg.ir.node import Node\n",
    "ops/view.py": "from talweg.ops.kinds import View\nfrom .kinds import Op\n",
    "ops/reduce.py": "import talweg.ops.kinds\n",
    "passes/fuse.py": "from talweg.ops.kinds import Reduce\n",
    "codegen/llvm.py": "from llvmlite import ir\n",
    "engine/tensor.py": "from talweg.ops.view import Reshape\nfrom ..passes import fuse\n",
    "nn/__init__.py": "from talweg.engine.tensor import Tensor\n",
    "autograd.py": "from talweg.engine import tensor\n",
    "frontends/torch/nn.py": "from talweg.frontends.torch.tensor import T\n",
    "frontends/torch/tensor.py": "from talweg.nn import Module\n",
    "tools/cli.py": "import talweg as tw\nfrom talweg import autograd\n"
    "from talweg.frontends.torch import nn\n",
}


def test_a_clean_package_passes(tmp_path: Path) -> None:
    sources = made_up(tmp_path, CLEAN)
    assert list(misplaced_imports(sources)) == []
    assert import_cycle(sources) == []


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("ir/bad.py", "from talweg.ops.kinds import Op", "ir.bad imports ops.kinds: not below"),
        ("ir/bad.py", "from ..engine import tensor", "ir.bad imports engine.tensor: not below"),
        ("base/bad.py", "import talweg.ir.node", "base.bad imports ir.node: not below"),
        ("base/bad.py", "import talweg", "base.bad imports talweg: not below"),
        ("nn/bad.py", "import talweg.autograd", "nn.bad imports autograd: not below"),
        ("alone.py", "from talweg.tools import cli", "alone imports tools.cli: not below"),
        ("base/bad.py", "import llvmlite.binding", "come through base.extras.require"),
        ("nn/bad.py", "from talweg.ir.node import Node", "nn.bad imports ir.node: not below"),
        ("nn/bad.py", "import scipy.special as s", "imports scipy: optional packages"),
        ("passes/bad.py", "from talweg.ops import view", "passes.bad imports ops.view: not below"),
        ("ops/bad.py", "from talweg.ops.view import View", "parts of ops stand alone"),
        ("ops/bad.py", "from . import reduce", "parts of ops stand alone"),
        ("ops/bad.py", "from talweg.ops import OPS", "parts of ops stand alone"),
        ("frontends/keras/a.py", "from talweg.frontends.torch import nn", "stand alone"),
        ("frontends/keras/a.py", "from ..torch.nn import Linear", "stand alone"),
        ("stray/a.py", "from talweg.base import dtypes", "'stray' has no row"),
        ("nn/bad.py", "def f():\n    from talweg.engine import tensor", "inside a function"),
        ("nn/bad.py", "def f():\n    import os", "imports os inside a function"),
        (
            "nn/bad.py",
            "import importlib\nx = importlib.import_module('talweg.ir.node')",
            "nn.bad imports ir.node: not below",
        ),
        (
            "ir/bad.py",
            "from talweg.base.deferred import deferred\nx = deferred('talweg.ops.view')",
            "ir.bad imports ops.view: not below",
        ),
        (
            "engine/bad.py",
            "def f():\n    return deferred('talweg.ops.view')",
            "imports talweg.ops.view inside a function",
        ),
        (
            "base/bad.py",
            "import typing\nif typing.TYPE_CHECKING:\n    pass\nelse:\n    import talweg.ir.node",
            "base.bad imports ir.node: not below",
        ),
    ],
)
def test_a_misplaced_import_is_found(tmp_path: Path, file: str, text: str, problem: str) -> None:
    found = list(misplaced_imports(made_up(tmp_path, {**CLEAN, file: text})))
    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize(
    "files",
    [
        {"ir/a.py": "from talweg.ir import b", "ir/b.py": "import talweg.ir.a"},
        {
            "ir/a.py": "from .b import x",
            "ir/b.py": "from .c import x",
            "ir/c.py": "from . import a",
        },
        {"ir/__init__.py": "from talweg.ir.a import A", "ir/a.py": "from talweg.ir import B"},
    ],
)
def test_a_cycle_is_found(tmp_path: Path, files: dict[str, str]) -> None:
    assert import_cycle(made_up(tmp_path, {**CLEAN, **files})) != []


def test_long_files_and_functions_are_found(tmp_path: Path) -> None:
    body = "    pass\n"
    fits = "def fits():\n" + body * (FUNCTION_LINES - 1)
    long = "def long():\n" + body * FUNCTION_LINES
    sources = made_up(
        tmp_path,
        {"a.py": fits + long, "b.py": "\n" * FILE_LINES, "c.py": "\n" * (FILE_LINES + 1)},
    )
    assert [problem.split(":")[0] for problem in too_long(sources)] == ["a.py", "c.py"]


def test_missing_annotations_are_found(tmp_path: Path) -> None:
    text = (
        "class A:\n"
        "    def good(self, x: int, *rest: int, **named: int) -> int: ...\n"
        "    def bad(self, x, *rest, y=1, **named) -> int: ...\n"
        "    def open(self): ...\n"
    )
    found = list(missing_annotations(made_up(tmp_path, {"a.py": text})))
    assert [problem.split(": ", 1)[1] for problem in found] == [
        "bad leaves out x, y, rest, named",
        "open leaves out return",
    ]
