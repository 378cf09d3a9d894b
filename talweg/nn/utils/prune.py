"""Pruning: weights of a Module held at zero by a mask, with the names of `torch.nn.utils.prune`.

A pruned parameter `weight` is kept as `weight_orig`, beside the buffer `weight_mask`; `weight` is
their product, computed before each call.

>>> import talweg as tw
>>> from talweg.nn.utils import prune
>>> layer = prune.l1_unstructured(tw.nn.Linear(4, 4, bias=False), "weight", amount=0.25)
>>> int((layer.weight == 0).sum()), prune.is_pruned(layer)
(4, True)
>>> prune.remove(layer, "weight")
Linear(in_features=4, out_features=4, bias=False)
"""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from talweg.base.errors import DTypeError, InvalidValue, ShapeError
from talweg.engine import random
from talweg.engine.creation import ones_like, zeros
from talweg.engine.functions import FUNCTIONS, METHODS
from talweg.engine.modes import no_grad
from talweg.engine.tensor import Tensor
from talweg.nn.module import Module

Amount = float | int


class BasePruningMethod(ABC):
    """A way to choose what is pruned; a subclass defines `compute_mask`.

    Attributes:
        PRUNING_TYPE: "unstructured", "structured" or "global": what of an earlier mask a
            further method looks at.
    """

    PRUNING_TYPE: str = "unstructured"
    _tensor_name: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return ones where elements stay, zeros elsewhere.

        Args:
            t: the importance of each element.
            default_mask: the mask so far.
        """

    def apply_mask(self, module: Module) -> Tensor:
        """Return the pruned parameter."""
        name = self._tensor_name
        mask, orig = getattr(module, f"{name}_mask"), getattr(module, f"{name}_orig")
        pruned: Tensor = mask.to(orig.dtype) * orig
        return pruned

    @classmethod
    def apply(
        cls,
        module: Module,
        name: str,
        *args: Any,
        importance_scores: Tensor | None = None,
        **kwargs: Any,
    ) -> BasePruningMethod:
        """Prune a parameter, besides what is pruned of it already; return the method's hook.

        Args:
            module, name: the Module and its attribute.
            importance_scores: what decides, of the parameter's shape; the parameter itself unless
                given.
            args, kwargs: of the method's constructor.
        """
        method: BasePruningMethod = cls(*args, **kwargs)
        method._tensor_name = name
        before = _hook_of(module, name)
        if before is not None:
            number, earlier = before
            del module._hooks["forward_pre"][number]
            chain = PruningContainer(
                *(earlier if isinstance(earlier, PruningContainer) else [earlier])
            )
            chain.add_pruning_method(method)
            method = chain
            orig = getattr(module, f"{name}_orig")
            default_mask = getattr(module, f"{name}_mask").detach().clone()
        else:
            orig = module.get_parameter(name)
            default_mask = ones_like(orig.detach())
        scores = orig if importance_scores is None else importance_scores
        if scores.shape != orig.shape:
            raise ShapeError(
                f"importance_scores {scores.shape} should have the shape of parameter {name} of "
                f"{module}: {orig.shape}"
            )
        if before is None:
            del module._parameters[name]
            module.register_parameter(f"{name}_orig", orig)
        mask = method.compute_mask(scores.detach(), default_mask)
        module.register_buffer(f"{name}_mask", mask.detach())
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(
        self,
        t: Tensor,
        default_mask: Tensor | None = None,
        importance_scores: Tensor | None = None,
    ) -> Tensor:
        """Return a Tensor pruned by this method, without any Module."""
        scores = t if importance_scores is None else importance_scores
        if scores.shape != t.shape:
            raise ShapeError("importance_scores should have the same shape as tensor t")
        mask = ones_like(t) if default_mask is None else default_mask
        pruned: Tensor = t * self.compute_mask(scores.detach(), mask)
        return pruned

    def remove(self, module: Module) -> None:
        """Make the pruned parameter a parameter again; zeros stay, until it is trained on."""
        name = self._tensor_name
        weight = self.apply_mask(module)
        orig = module._parameters.pop(f"{name}_orig")
        assert orig is not None
        with no_grad():
            orig.data = weight.detach()
        del module._buffers[f"{name}_mask"]
        vars(module).pop(name, None)
        setattr(module, name, orig)


def _hook_of(module: Module, name: str) -> tuple[int, BasePruningMethod] | None:
    for number, hook in module._hooks.get("forward_pre", {}).items():
        method = hook.function
        if isinstance(method, BasePruningMethod) and method._tensor_name == name:
            return number, method
    return None


class PruningContainer(BasePruningMethod):
    """Methods that prune one parameter one after the other."""

    def __init__(self, *args: Any) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        for method in args:
            self._tensor_name = method._tensor_name
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        """Add a method for the same parameter.

        Raises:
            InvalidValue: when it is for another one.
        """
        if not isinstance(method, BasePruningMethod):
            raise DTypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if self._pruning_methods and method._tensor_name != self._tensor_name:
            raise InvalidValue(
                f"can only add pruning methods for {self._tensor_name}, got one for "
                f"{method._tensor_name}"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Any:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: Any) -> Any:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask so far, with what the newest method prunes of the rest."""
        method = self._pruning_methods[-1]
        mask = default_mask.to(t.dtype)
        if method.PRUNING_TYPE == "unstructured":
            rest = mask == 1
            part = method.compute_mask(t[rest], ones_like(mask[rest]))
            whole: Tensor = mask.clone()
            whole[rest] = part.to(mask.dtype)
            return whole
        if method.PRUNING_TYPE == "structured":
            dim = getattr(method, "dim", 0) % t.ndim
            others = tuple(d for d in range(t.ndim) if d != dim)
            kept = (mask.sum(others) != 0).nonzero().squeeze(1)
            part = method.compute_mask(t.index_select(dim, kept), mask.index_select(dim, kept))
            return METHODS["index_copy"](mask, dim, kept, part.to(mask.dtype))  # type: ignore[no-any-return]
        return method.compute_mask(t, default_mask)


def _check_amount(amount: Any) -> None:
    if not isinstance(amount, numbers.Real):
        raise DTypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    if (isinstance(amount, numbers.Integral) and int(amount) < 0) or (
        not isinstance(amount, numbers.Integral) and not 0.0 <= float(amount) <= 1.0
    ):
        raise InvalidValue(
            f"amount={amount} should either be a float in the range [0.0, 1.0] or a non-negative "
            "integer"
        )


def _count(amount: Amount, size: int) -> int:
    if not isinstance(amount, int):
        return round(amount * size)
    if amount > size:
        raise InvalidValue(
            f"amount={amount} should be smaller than the number of parameters to prune={size}"
        )
    return amount


class Identity(BasePruningMethod):
    """Prunes nothing, but gives the parameter a mask."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask so far."""
        return default_mask


class _Elements(BasePruningMethod):
    def __init__(self, amount: Amount) -> None:
        _check_amount(amount)
        self.amount = amount

    def scores(self, t: Tensor) -> Tensor:
        """Return how important each element is."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask so far, with the least important elements pruned."""
        count = _count(self.amount, t.numel())
        if not count:
            return default_mask
        scores = METHODS["reshape"](self.scores(t), (-1,))
        places = scores.topk(count, largest=False).indices
        flat = METHODS["reshape"](default_mask.clone(), (-1,))
        mask: Tensor = METHODS["reshape"](
            METHODS["index_fill"](flat, 0, places, 0.0), default_mask.shape
        )
        return mask


class RandomUnstructured(_Elements):
    """Prunes elements that are drawn.

    Args:
        amount: how many, or a share of them as a float.
    """

    def scores(self, t: Tensor) -> Tensor:
        """Return numbers that are drawn."""
        drawn: Tensor = -random.rand_like(t)
        return drawn


class L1Unstructured(_Elements):
    """Prunes the elements of the smallest magnitude.

    Args:
        amount: how many, or a share of them as a float.
    """

    def scores(self, t: Tensor) -> Tensor:
        """Return magnitudes."""
        sizes: Tensor = t.abs()
        return sizes


class _Channels(BasePruningMethod):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: Amount, dim: int = -1) -> None:
        _check_amount(amount)
        self.amount = amount
        self.dim = dim

    def scores(self, t: Tensor) -> Tensor:
        """Return how important each channel is."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return the mask so far, with the least important channels pruned."""
        if t.ndim < 2:
            raise InvalidValue(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor "
                f"of shape {t.shape} with {t.ndim} dims"
            )
        if not -t.ndim <= self.dim < t.ndim:
            raise IndexError(f"Invalid index {self.dim} for tensor of size {t.shape}")
        count = _count(self.amount, t.shape[self.dim])
        if not count:
            return default_mask
        kept = zeros(t.shape[self.dim], dtype=default_mask.dtype)
        best = self.scores(t).topk(t.shape[self.dim] - count).indices
        kept = METHODS["index_fill"](kept, 0, best, 1.0)
        shape = [1] * t.ndim
        shape[self.dim] = -1
        mask: Tensor = default_mask * METHODS["reshape"](kept, tuple(shape))
        return mask


class RandomStructured(_Channels):
    """Prunes whole channels that are drawn.

    Args:
        amount: how many, or a share of them as a float.
        dim: along which they lie.
    """

    def scores(self, t: Tensor) -> Tensor:
        """Return numbers that are drawn."""
        return random.rand(t.shape[self.dim])


class LnStructured(_Channels):
    """Prunes the channels of the smallest norms.

    Args:
        amount: how many, or a share of them as a float.
        n: the norm's exponent, or its name.
        dim: along which the channels lie.
    """

    def __init__(self, amount: Amount, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def scores(self, t: Tensor) -> Tensor:
        """Return the channels' norms."""
        others = tuple(d for d in range(t.ndim) if d != self.dim % t.ndim)
        found: Tensor = FUNCTIONS["norm"](t, self.n, others)
        return found


class CustomFromMask(BasePruningMethod):
    """Prunes what a mask says.

    Args:
        mask: of the parameter's shape.
    """

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Return both masks' product."""
        found: Tensor = default_mask * self.mask.to(default_mask.dtype)
        return found


def identity(module: Module, name: str) -> Module:
    """Give a parameter a mask of ones; return the Module."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: Amount) -> Module:
    """Prune drawn elements of a parameter; return the Module."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(
    module: Module, name: str, amount: Amount, importance_scores: Tensor | None = None
) -> Module:
    """Prune the smallest elements of a parameter; return the Module."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: Amount, dim: int) -> Module:
    """Prune drawn channels of a parameter; return the Module."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module,
    name: str,
    amount: Amount,
    n: Any,
    dim: int,
    importance_scores: Tensor | None = None,
) -> Module:
    """Prune the channels of the smallest n-norms of a parameter; return the Module."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: Mapping[tuple[Module, str], Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prune several parameters as if they were one.

    Args:
        parameters: Modules and names.
        pruning_method: the class of an unstructured method.
        importance_scores: what decides, for some of them.
        kwargs: of the method's constructor.

    Raises:
        DTypeError: for a structured method.
    """
    listed: Sequence[tuple[Module, str]] = list(parameters)
    given = dict(importance_scores or {})
    scores = [given.get((m, n), getattr(m, n)).detach() for m, n in listed]
    masks = [getattr(m, f"{n}_mask", None) for m, n in listed]
    flat = FUNCTIONS["cat"]([METHODS["reshape"](s, (-1,)) for s in scores])
    known = [ones_like(s) if k is None else k for s, k in zip(scores, masks, strict=True)]
    default = FUNCTIONS["cat"]([METHODS["reshape"](k, (-1,)) for k in known])
    container = PruningContainer()
    container._tensor_name = "temp"
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    container.add_pruning_method(method)
    if method.PRUNING_TYPE != "unstructured":
        raise DTypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    final = container.compute_mask(flat, default)
    sizes = [s.numel() for s in scores]
    for (module, name), part in zip(listed, METHODS["split"](final, sizes), strict=True):
        custom_from_mask(module, name, METHODS["reshape"](part, getattr(module, name).shape))


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prune a parameter where a mask is 0; return the Module."""
    CustomFromMask.apply(module, name, mask)
    return module


def remove(module: Module, name: str) -> Module:
    """Make a pruned parameter a parameter again, zeros and all; return the Module.

    Raises:
        InvalidValue: when it is not pruned.
    """
    found = _hook_of(module, name)
    if found is None:
        raise InvalidValue(
            f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
        )
    number, method = found
    method.remove(module)
    del module._hooks["forward_pre"][number]
    return module


def is_pruned(module: Module) -> bool:
    """Return whether a parameter of the Module, or of one inside, is pruned."""
    return any(
        isinstance(hook.function, BasePruningMethod)
        for inner in module.modules()
        for hook in inner._hooks.get("forward_pre", {}).values()
    )
