"""Pages of the reference, made of the signatures and docstrings of what talweg offers."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import griffe

PAGES = {  # the module of each page, and what stands in it
    "talweg": "functions of Tensors, dtypes, and how programs run",
    "talweg.Tensor": "methods",
    "talweg.autograd": "gradients",
    "talweg.nn": "layers and losses",
    "talweg.nn.functional": "layers as functions",
    "talweg.nn.init": "first values of parameters",
    "talweg.nn.utils": "parameters, sequences, other tools",
    "talweg.nn.utils.rnn": "sequences of several lengths",
    "talweg.optim": "optimizers",
    "talweg.optim.lr_scheduler": "schedules of learning rates",
    "talweg.optim.swa_utils": "averages of weights",
    "talweg.amp": "mixed precision",
    "talweg.utils.checkpoint": "activations that are computed again",
    "talweg.func": "gradients and maps of functions",
    "talweg.training": "the loop behind `fit`",
    "talweg.data": "data sets and loaders",
    "talweg.data.text": "vocabularies, byte pairs, batches of texts",
    "talweg.data.transforms": "images on their way to a network",
    "talweg.models": "well-known networks",
    "talweg.distributions": "random variables",
    "talweg.linalg": "linear algebra",
    "talweg.special": "special functions",
    "talweg.fft": "Fourier transforms",
}
EXAMPLE = re.compile(r"^>>> .*?(?=\n\n|\Z)", re.M | re.S)


class Plain(str):
    """A text that signatures show without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def found(name: str) -> Any:
    """The module or class of a page."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(import_module(module), attribute)


def members(owner: Any) -> Iterator[tuple[str, Any]]:
    """The public functions, classes and methods of a page, by name."""
    listed = dir(owner) if owner.__name__ == "talweg" else getattr(owner, "__all__", dir(owner))
    for name in sorted(listed, key=str.lower):
        item = getattr(owner, name)
        if name.startswith("_") or isinstance(item, ModuleType) or not inspect.getdoc(item):
            continue
        own = str(getattr(item, "__module__", "")).startswith("talweg")
        if (own and (callable(item) or inspect.isclass(item))) or isinstance(item, property):
            yield name, item


def signature(item: Any) -> str:
    """The signature as users see it: Tensors, not the Nodes that they record."""
    try:
        plain = inspect.signature(item)
    except (TypeError, ValueError):
        return ""
    if any(word in str(plain) for word in (" at 0x", "<factory>")):
        return "(…)"

    def shown(annotation: Any) -> Any:
        if annotation is inspect.Signature.empty:
            return annotation
        return Plain(re.sub(r"\bNode\b", "Tensor", str(annotation)))

    parameters = [
        p.replace(annotation=shown(p.annotation))
        for p in plain.parameters.values()
        if p.name != "self"
    ]
    result = inspect.Signature.empty if inspect.isclass(item) else shown(plain.return_annotation)
    return str(inspect.Signature(parameters, return_annotation=result))


def fenced(text: str) -> str:
    """A text of a docstring with its examples as blocks."""
    return EXAMPLE.sub(lambda m: f"```pycon\n{m.group()}\n```", text)


def described(docstring: str) -> Iterator[str]:
    """The sections of a docstring as Markdown."""
    for section in griffe.Docstring(docstring).parse("google", warnings=False):
        value: Any = section.value
        match section.kind.value:
            case "text":
                yield fenced(value)
            case "admonition":
                yield f"**{value.kind.capitalize()}**\n\n{fenced(value.description)}"
            case "examples":
                yield "\n\n".join(fenced(text) for _, text in value)
            case "parameters" | "attributes" | "raises" | "returns" | "yields" as kind:
                yield f"**{kind.capitalize()}**"
                yield "\n".join(entry(getattr(v, "name", ""), v) for v in value)
            case kind:
                raise ValueError(f"a docstring has a section of the unknown kind {kind}")


def entry(name: str, value: Any) -> str:
    """A row of a list: its name and what is said of it."""
    label = name or getattr(value, "annotation", None)
    text = value.description.replace("\n", "\n  ")
    return f"- `{label}`: {text}" if label else f"- {text}"


def page(name: str) -> str:
    """The Markdown page of a module or class."""
    owner = found(name)
    short = name.replace("talweg", "tw", 1)
    parts = [f"# {name}", *described(inspect.getdoc(owner) or "")]
    for member, item in members(owner):
        parts.append(f"## {member}")
        if not isinstance(item, property):
            parts.append(f"```text\n{short}.{member}{signature(item)}\n```")
        parts.extend(described(inspect.getdoc(item) or ""))
    return "\n\n".join(parts) + "\n"


def index() -> str:
    """The page that lists the others."""
    rows = [f"| [`{name}`]({name}.md) | {what} |" for name, what in PAGES.items()]
    head = "# Reference\n\nEvery example on these pages is a test.\n\n| page | what |\n|---|---|\n"
    return head + "\n".join(rows) + "\n"


@functools.cache
def pages() -> dict[str, str]:
    """Every page by its path."""
    named = {f"reference/{name}.md": page(name) for name in PAGES}
    return {"reference/index.md": index()} | named
