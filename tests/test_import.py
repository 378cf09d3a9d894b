"""What `import talweg` loads: little that NumPy does not load, and nothing twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import talweg as tw

ROOT = Path(tw.__file__).parents[1]

HEAVY = (
    *("asyncio", "concurrent.futures", "multiprocessing", "socket", "ssl", "subprocess"),
    *("gzip", "hashlib", "json", "pathlib", "pickle", "random", "tempfile", "urllib"),
    *("llvmlite", "hypothesis", "matplotlib", "mpi4py", "PIL", "rich", "safetensors", "torch"),
    *("talweg.data", "talweg.codegen", "talweg.passes", "talweg.schedule", "talweg.tools"),
    *("talweg.runtime.jit", "talweg.nn.state"),
)


def modules_after(*statements: str) -> list[set[str]]:
    """What `sys.modules` of a fresh process holds after each statement."""
    text = "\n".join(["import sys", *(f"{s}\nprint(*sys.modules)" for s in statements)])
    run = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{text}"]
    own = {k: v for k, v in os.environ.items() if not k.startswith("TALWEG_")}
    done = subprocess.run(
        run, capture_output=True, text=True, check=True, timeout=120, cwd=ROOT, env=own
    )
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_import_loads_little_beside_numpy() -> None:
    before, after = modules_after("import numpy", "import talweg")
    loaded = after - before
    assert "talweg.engine.tensor" in loaded
    heavy = {m for m in loaded if m in HEAVY or m.startswith(tuple(f"{h}." for h in HEAVY))}
    assert heavy == set()
    assert len({m for m in loaded if not m.startswith("talweg")}) <= 25


def test_the_compiler_comes_with_the_first_kernel() -> None:
    step = "(x * x).sum().backward(); assert x.grad.tolist() == [2, 4]"
    loaded = modules_after(
        "import talweg as tw; x = tw.tensor([1.0, 2.0], requires_grad=True)",
        step,
    )
    assert ["llvmlite" in modules for modules in loaded] == [False, True]


@pytest.mark.parametrize("statement", ["talweg.data", "talweg.load", "from talweg import data"])
def test_the_rest_comes_when_asked_for(statement: str) -> None:
    before, after = modules_after("import talweg", statement)
    assert after > before


def test_names_that_come_later_are_seen() -> None:
    assert {"data", "load", "save"} <= set(dir(tw))
    assert tw.data is sys.modules["talweg.data"]
    assert tw.save is sys.modules["talweg.nn.state"].save
    with pytest.raises(AttributeError, match="module 'talweg' has no attribute 'nothing'"):
        tw.nothing  # noqa: B018


def test_the_collector_runs_again_after_the_import() -> None:
    for state in ("enable", "disable"):
        code = f"import gc; gc.{state}(); import talweg; print(gc.isenabled())"
        shown = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert shown.stdout.strip() == str(state == "enable")


def test_layers_and_optimizers_come_one_by_one() -> None:
    (loaded,) = modules_after("import talweg as tw; tw.nn.Linear(2, 2); tw.optim.SGD")
    assert {"talweg.nn.linear", "talweg.optim.sgd"} <= loaded
    others = ("talweg.nn.transformer", "talweg.nn.loss", "talweg.optim.lbfgs")
    assert loaded.isdisjoint((*others, "talweg.optim.lr_scheduler"))


@pytest.mark.parametrize("package", [tw.nn, tw.optim, tw.autograd])
def test_a_package_has_all_that_it_lists(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name) is getattr(package, name)
        assert name in dir(package)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        package.nothing  # noqa: B018
