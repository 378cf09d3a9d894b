"""A thousand operations on 4 x 4 Tensors with gradients, another graph every time.

Which operations follow each other is drawn anew for each step, so that nothing made for one step
serves the next: what is measured is the way from Python to the machine and back.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alone import main
from benchmarks.case import Arrays, Case, Own, Program, Skipped
from benchmarks.eager import Eager


@dataclass(frozen=True, kw_only=True)
class TinyOps(Own):
    """The sum of a chain of operations, and its gradient by x and w.

    Args:
        length: operations.
        dynamic: whether their order changes from step to step.
    """

    length: int
    dynamic: bool

    def orders(self) -> np.random.Generator:
        """Return what draws the orders."""
        return np.random.default_rng(0)

    def inputs(self) -> tuple[np.ndarray, ...]:
        """Return x and w."""
        rng = self.rng()
        x, w = rng.standard_normal((2, 4, 4), np.float32)
        return x, w

    def chain(self, order: Sequence[int], f: Any, x: Any, w: Any) -> Any:
        """Return the sum of the chain's result by the functions of `f`."""
        for kind in order:
            if kind == 0:
                x = x * w
            elif kind == 1:
                x = x + w
            elif kind == 2:
                x = f.tanh(x)
            else:
                x = w - x
        return x.sum()

    def order(self, rng: np.random.Generator) -> list[int]:
        """Return a sequence of operations."""
        return [int(kind) for kind in rng.integers(0, 4, self.length)]

    def program(self, framework: str) -> Program:
        if framework in ("talweg", "torch"):
            return self.eager(Eager(framework))
        if framework == "jax":
            if self.dynamic:
                raise Skipped("jax.jit compiles every new graph")
            return self.pure()
        if framework in ("talweg-compile", "torch-compile") and not self.dynamic:
            return self.eager(Eager(framework.partition("-")[0], compiled=True))
        raise Skipped("no such program")

    def eager(self, eager: Eager) -> Program:
        """The chain as talweg and PyTorch run it; `tw.compile` takes the gradient with it."""
        tw, rng = eager.tw, self.orders()
        x, w = (eager.tensor(array).requires_grad_() for array in self.inputs())
        fixed = self.order(rng)
        spent = {"record": 0.0, "backward": 0.0, "steps": 0.0}

        def forward(x: Any, w: Any) -> Any:
            return self.chain(fixed, tw, x, w)

        def both(x: Any, w: Any) -> tuple[Any, ...]:
            y = forward(x, w)
            return y, *tw.autograd.grad(y, (x, w))

        def apart() -> Any:
            order = self.order(rng) if self.dynamic else fixed
            begin = time.perf_counter()
            y = self.chain(order, tw, x, w) if self.dynamic else compiled(x, w)
            middle = time.perf_counter()
            found = tw.autograd.grad(y, (x, w))
            spent["record"] += middle - begin
            spent["backward"] += time.perf_counter() - middle
            spent["steps"] += 1
            eager.settle()
            return y, *found

        whole = eager.is_talweg and eager.compiled
        compiled: Callable[..., Any] = eager.compile(both if whole else forward)

        def step() -> Any:
            return compiled(x, w) if whole else apart()

        def results() -> Arrays:
            found = zip(("output", "gradient.x", "gradient.w"), step(), strict=True)
            return {name: eager.numpy(value) for name, value in found}

        def metrics() -> dict[str, float]:
            if whole:
                return {}
            each = 1e6 / (self.length * spent["steps"])
            return {
                "forward µs per operation": spent["record"] * each,
                "backward µs per operation": spent["backward"] * each,
            }

        return Program(step, results, metrics)

    def pure(self) -> Program:
        """The chain as one compiled function of JAX."""
        jax = importlib.import_module("jax")
        x, w = (jax.numpy.asarray(array) for array in self.inputs())
        order = self.order(self.orders())
        run = jax.jit(
            jax.value_and_grad(lambda x, w: self.chain(order, jax.numpy, x, w), argnums=(0, 1))
        )

        def step() -> Any:
            return jax.block_until_ready(run(x, w))

        def results() -> Arrays:
            output, (of_x, of_w) = step()
            found = {"output": output, "gradient.x": of_x, "gradient.w": of_w}
            return {name: np.asarray(value) for name, value in found.items()}

        return Program(step, results)


def cases(sizes: str) -> Sequence[Case]:
    """Return the cases in sizes `full` or `tiny`."""
    length = 1000 if sizes == "full" else 12
    return [
        TinyOps(
            name=f"{length:,} tiny operations with gradients, {how}",
            length=length,
            dynamic=dynamic,
            tolerance=1e-2,
        )
        for how, dynamic in (("another graph each time", True), ("the same graph", False))
    ]


if __name__ == "__main__":
    main("tiny_ops")
