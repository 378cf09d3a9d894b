"""Programs of JAX: pure functions, compiled by `jax.jit`, parameters donated to each step."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.case import (
    Arrays,
    Case,
    Function,
    Inference,
    Program,
    Sgd,
    Skipped,
    Stepwise,
    Training,
    is_buffer,
)
from benchmarks.eager import STEPS, changes, cotangent_of


def program(case: Case) -> Program:
    """Return a case as a Program of JAX.

    Raises:
        Skipped: when there is no such program.
    """
    jax = importlib.import_module("jax")
    f = importlib.import_module("benchmarks.functions_jax")
    if isinstance(case, Training):
        return training(case, jax, f)
    if isinstance(case, Inference):
        return inference(case, jax, f)
    if isinstance(case, Stepwise):
        return stepwise(case, jax, f)
    if isinstance(case, Function):
        return function(case, jax, f)
    raise Skipped("no program of pure functions")


def training(case: Training, jax: Any, f: Any) -> Program:
    """A training step as one compiled function."""
    arrays = case.state()
    batch = [f.place(array) for array in case.batch()]
    values = {n: f.place(a, kernel=True) for n, a in arrays.items() if a.dtype.kind == "f"}
    parameters = {n: v for n, v in values.items() if not is_buffer(n)}
    buffers = {n: v for n, v in values.items() if is_buffer(n)}

    def loss(parameters: Any, buffers: Any, *batch: Any) -> Any:
        return case.loss(f, parameters | buffers, *batch)

    slopes = jax.value_and_grad(loss, has_aux=True)
    initial, advance = optimizer(case, jax)

    def update(parameters: Any, memory: Any, buffers: Any, *batch: Any) -> Any:
        (value, changed), gradients = slopes(parameters, buffers, *batch)
        parameters, memory = advance(parameters, gradients, memory)
        return value, parameters, memory, buffers | changed

    compiled = jax.jit(update, donate_argnums=(0, 1, 2))
    held = [parameters, initial(parameters), buffers]

    def step() -> float:
        value, *held[:] = compiled(*held, *batch)
        return float(value)

    def results() -> Arrays:
        _, gradients = jax.jit(slopes)(parameters, buffers, *batch)
        found = {f"gradient.{n}": f.fetch(g, kernel=True) for n, g in gradients.items()}
        found["loss"] = np.array([step() for _ in range(STEPS)])
        after = {n: f.fetch(v, kernel=True) for n, v in (held[0] | held[2]).items()}
        return found | changes(arrays, after | {n: a for n, a in arrays.items() if n not in after})

    return Program(step, results)


def optimizer(case: Training, jax: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return what makes the optimizer's memory, and its step on all parameters."""
    settings, jnp, tree = case.optimizer, jax.numpy, jax.tree.map

    if isinstance(settings, Sgd):

        def descend(parameters: Any, gradients: Any, memory: Any) -> Any:
            if settings.momentum:
                gradients = memory = tree(lambda v, g: settings.momentum * v + g, memory, gradients)
            return tree(lambda p, g: p - settings.lr * g, parameters, gradients), memory

        return lambda p: tree(jnp.zeros_like, p) if settings.momentum else {}, descend

    (beta1, beta2), lr = settings.betas, settings.lr

    def adam(parameters: Any, gradients: Any, memory: Any) -> Any:
        mean, square, t = memory
        t = t + 1
        mean = tree(lambda m, g: beta1 * m + (1 - beta1) * g, mean, gradients)
        square = tree(lambda v, g: beta2 * v + (1 - beta2) * g * g, square, gradients)
        rate, root = lr / (1 - beta1**t), jnp.sqrt(1 - beta2**t)
        decay = 1 - lr * settings.weight_decay
        moved = tree(
            lambda p, m, v: p * decay - rate * m / (jnp.sqrt(v) / root + settings.eps),
            parameters,
            mean,
            square,
        )
        return moved, (mean, square, t)

    def empty(parameters: Any) -> Any:
        return tree(jnp.zeros_like, parameters), tree(jnp.zeros_like, parameters), jnp.float32(0)

    return empty, adam


def inference(case: Inference, jax: Any, f: Any) -> Program:
    """A forward pass as one compiled function."""
    arrays = case.state()
    state = {n: f.place(a, kernel=True) for n, a in arrays.items() if a.dtype.kind == "f"}
    batch = [f.place(array) for array in case.batch()]
    run = jax.jit(lambda state, *batch: case.output(f, state, *batch))

    def step() -> Any:
        return jax.block_until_ready(run(state, *batch))

    return Program(step, lambda: {"output": f.fetch(step())})


def function(case: Function, jax: Any, f: Any) -> Program:
    """A function of arrays, and its gradients if they are wanted."""
    arrays = [f.place(a, i in case.kernels) for i, a in enumerate(case.inputs())]
    run: Callable[..., Any] = jax.jit(lambda *arrays: case.pure(f, *arrays))
    if not case.gradient:

        def forward() -> Any:
            return jax.block_until_ready(run(*arrays))

        return Program(forward, lambda: {"output": f.fetch(forward())})

    floating = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    shape = f.fetch(jax.jit(run)(*arrays)).shape
    cotangent = f.place(cotangent_of(shape))

    def both(cotangent: Any, *arrays: Any) -> Any:
        def of_floating(*values: Any) -> Any:
            given = list(arrays)
            for i, value in zip(floating, values, strict=True):
                given[i] = value
            return case.pure(f, *given)

        result, back = jax.vjp(of_floating, *(arrays[i] for i in floating))
        return result, back(cotangent)

    compiled = jax.jit(both)

    def step() -> Any:
        return jax.block_until_ready(compiled(cotangent, *arrays))

    def results() -> Arrays:
        output, gradients = step()
        found = {
            f"gradient.{i}": f.fetch(g, floating[i] in case.kernels)
            for i, g in enumerate(gradients)
        }
        return found | {"output": f.fetch(output)}

    return Program(step, results)


def stepwise(case: Stepwise, jax: Any, f: Any) -> Program:
    """Generation: a step compiled once for every position."""
    jnp = jax.numpy
    state = {n: f.place(a) for n, a in case.state().items()}
    (forced,) = case.batch()
    length, half = len(forced), len(forced) // 2

    def advance(state: Any, carried: Any, token: Any, t: Any) -> Any:
        logits, carried = case.advance(f, state, carried, token, t)
        return logits, logits.argmax(-1), carried

    run = jax.jit(advance, donate_argnums=1)
    held: dict[str, Any] = {
        "carried": {n: jnp.array(a) for n, a in case.start().items()},
        "token": jnp.array(forced[0]),
        "t": half,
    }

    def step() -> int:
        t = held["t"]
        held["t"] = t + 1 if t + 1 < length else half
        _, held["token"], held["carried"] = run(state, held["carried"], held["token"], t)
        return int(held["token"][0])

    def results() -> Arrays:
        logits = []
        for t, token in enumerate(forced):
            out, _, held["carried"] = run(state, held["carried"], jnp.array(token), t)
            logits.append(f.fetch(out))
        return {"output": np.stack(logits)}

    return Program(step, results, period=length - half)
