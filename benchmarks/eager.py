"""Programs of talweg and of PyTorch: one text for both, since the names are the same."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.case import (
    AdamW,
    Arrays,
    Case,
    Function,
    Inference,
    Network,
    Program,
    Skipped,
    Stepwise,
    Training,
    is_buffer,
)

STEPS = 3
"""Iterations whose losses, choices and parameters are compared."""


class Eager:
    """talweg or PyTorch, and how it is used.

    Args:
        module: `talweg` or `torch`.
        compiled: whether functions go through the module's `compile`.
        channels_last: whether images are given with the channels innermost, and kernels too.

    Raises:
        Skipped: when there is no `compile`.
    """

    def __init__(self, module: str, compiled: bool = False, channels_last: bool = False) -> None:
        self.tw: Any = importlib.import_module(module)
        self.is_talweg = module == "talweg"
        self.compiled = compiled
        self.channels_last = channels_last
        self._flush: Callable[[], None] | None = None
        if self.is_talweg:
            self._flush = importlib.import_module("talweg.engine.barrier").flush
        if compiled and not hasattr(self.tw, "compile"):
            raise Skipped(f"{module} has no compile")

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function compiled, where that is what is measured."""
        if not self.compiled:
            return function
        compiled: Callable[..., Any] = self.tw.compile(function)
        return compiled

    def settle(self) -> None:
        """Compute what waits: all pending Tensors that are alive, as `optimizer.step()` does."""
        if self._flush is not None:
            self._flush()

    def tensor(self, array: np.ndarray) -> Any:
        """Return an array as a Tensor."""
        tensor = self.tw.from_numpy(array)
        if self.channels_last and array.ndim == 4:
            return tensor.to(memory_format=self.tw.channels_last)
        return tensor

    def load(self, case: Network, arrays: Arrays) -> Any:
        """Return the network of a case with these parameters and buffers."""
        model = case.network(self.tw)
        model.load_state_dict({name: self.tw.from_numpy(a) for name, a in arrays.items()})
        if self.channels_last:
            model = model.to(memory_format=self.tw.channels_last)
        return model

    def arrays(self, model: Any) -> Arrays:
        """Return the parameters and buffers of a network."""
        return {name: self.numpy(t) for name, t in model.state_dict().items()}

    @staticmethod
    def numpy(tensor: Any) -> np.ndarray:
        """Return a copy of the values."""
        return np.array(tensor.detach().numpy())


def program(case: Case, eager: Eager) -> Program:
    """Return a case as a Program.

    Raises:
        Skipped: when there is no such program.
    """
    if isinstance(case, Training):
        return training(case, eager)
    if isinstance(case, Inference):
        return inference(case, eager)
    if isinstance(case, Stepwise):
        return stepwise(case, eager)
    if isinstance(case, Function):
        return differentiated(case, eager) if case.gradient else forward_only(case, eager)
    raise Skipped("no program of Modules and Tensors")


def training(case: Training, eager: Eager) -> Program:
    """A training step; PyTorch compiles forward and backward, talweg the whole step."""
    tw, arrays = eager.tw, case.state()
    model = eager.load(case, arrays)
    batch = [eager.tensor(array) for array in case.batch()]
    settings = case.optimizer
    if isinstance(settings, AdamW):
        optimizer = tw.optim.AdamW(
            model.parameters(),
            lr=settings.lr,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=True,
        )
    else:
        optimizer = tw.optim.SGD(
            model.parameters(), lr=settings.lr, momentum=settings.momentum, fused=True
        )

    def objective(*batch: Any) -> Any:
        return case.objective(tw, model, *batch)

    compiled = objective if eager.is_talweg else eager.compile(objective)

    def update(*batch: Any) -> Any:
        optimizer.zero_grad()
        loss = compiled(*batch)
        loss.backward()
        optimizer.step()
        return loss.detach()

    whole = eager.compile(update) if eager.is_talweg else update

    def step() -> float:
        loss: float = whole(*batch).item()
        return loss

    def results() -> Arrays:
        objective(*batch).backward()
        eager.settle()
        found = {f"gradient.{n}": eager.numpy(p.grad) for n, p in model.named_parameters()}
        optimizer.zero_grad()
        model.load_state_dict({name: tw.from_numpy(a) for name, a in arrays.items()})
        found["loss"] = np.array([step() for _ in range(STEPS)])
        after = eager.arrays(model)
        return found | changes(arrays, after)

    return Program(step, results)


def changes(before: Arrays, after: Arrays) -> Arrays:
    """Return by how much each floating parameter and buffer has changed."""
    return {
        f"{'buffer' if is_buffer(name) else 'change'}.{name}": after[name] - array
        for name, array in before.items()
        if array.dtype.kind == "f"
    }


def inference(case: Inference, eager: Eager) -> Program:
    """A forward pass without gradients."""
    model = eager.load(case, case.state())
    model.eval()
    batch = [eager.tensor(array) for array in case.batch()]
    run = eager.compile(model)

    def step() -> Any:
        with eager.tw.inference_mode():
            result = run(*batch)
            eager.settle()
        return result

    return Program(step, lambda: {"output": eager.numpy(step())})


def forward_only(case: Function, eager: Eager) -> Program:
    """A function of Tensors, without gradients."""
    tw = eager.tw
    tensors = [eager.tensor(array) for array in case.inputs()]
    run = eager.compile(lambda *tensors: case.eager(tw, *tensors))

    def step() -> Any:
        with tw.inference_mode():
            result = run(*tensors)
            eager.settle()
        return result

    return Program(step, lambda: {"output": eager.numpy(step())})


def differentiated(case: Function, eager: Eager) -> Program:
    """A function of Tensors and its gradients by all that are floating."""
    tw = eager.tw
    tensors = [eager.tensor(array) for array in case.inputs()]
    wanted = [t.requires_grad_() for t in tensors if t.is_floating_point()]

    def forward(*tensors: Any) -> Any:
        return case.eager(tw, *tensors)

    shape = tuple(forward(*tensors).shape)
    cotangent = eager.tensor(cotangent_of(shape))
    compiled = forward if eager.is_talweg else eager.compile(forward)

    def both(*tensors: Any) -> tuple[Any, ...]:
        result = compiled(*tensors)
        return result, *tw.autograd.grad(result, wanted, cotangent)

    whole = eager.compile(both) if eager.is_talweg else both

    def step() -> Any:
        found = whole(*tensors)
        eager.settle()
        return found

    def results() -> Arrays:
        output, *gradients = step()
        found = {f"gradient.{i}": eager.numpy(g) for i, g in enumerate(gradients)}
        return found | {"output": eager.numpy(output)}

    return Program(step, results)


def cotangent_of(shape: Sequence[int]) -> np.ndarray:
    """Return the cotangent that is sent back from a result of a shape."""
    if not shape:
        return np.ones((), np.float32)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def stepwise(case: Stepwise, eager: Eager) -> Program:
    """Generation: each step reads the number of the class that the one before it chose."""
    model = eager.load(case, case.state())
    model.eval()

    def chosen_by(token: Any, t: int, carried: Any) -> tuple[Any, Any, Any]:
        logits, found = model(token, t, carried)
        return logits, logits.argmax(-1), found

    run = eager.compile(chosen_by)
    (forced,) = case.batch()
    length, half = len(forced), len(forced) // 2
    carried = {name: eager.tensor(a) for name, a in case.start().items()}
    tokens, position = [eager.tensor(row) for row in forced], [half]
    chosen = [tokens[0]]

    def advance(token: Any, t: int) -> Any:
        with eager.tw.inference_mode():
            logits, choice, found = run(token, t, carried)
            carried.update(found)
            eager.settle()
        return logits, choice

    def step() -> int:
        t = position[0]
        position[0] = t + 1 if t + 1 < length else half
        _, chosen[0] = advance(chosen[0], t)
        choice: int = chosen[0][0].item()
        return choice

    def results() -> Arrays:
        logits = [eager.numpy(advance(token, t)[0]) for t, token in enumerate(tokens)]
        return {"output": np.stack(logits)}

    return Program(step, results, period=length - half)
