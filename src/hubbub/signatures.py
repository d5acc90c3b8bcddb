"""Functions of an application, looked at when they are registered: whether they can be called as they will be."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Parameter", "check_callable", "name_of", "takes"]

# What a function is given: the name of a parameter, and its type.
Parameter = tuple[str, type]


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called, in an error or a log line."""
    return getattr(function, "__qualname__", None) or repr(function)


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many arguments; True where that cannot be told."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # of what is written in C
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def check_callable(kind: str, function: Callable[..., Any], parameters: Sequence[Parameter], least: int = 0) -> None:
    """Refuse what cannot be called as it will be.

    Args:
        kind: what it is registered as.
        parameters: what it will be given, in order.
        least: how many of them it has to take, if it need not take all.

    Raises:
        TypeError: it is no function, takes other parameters, or yields; the text says what would be right.
    """
    names = [name for name, _type in parameters]
    right = f"def {getattr(function, '__name__', 'hook')}({', '.join(names)})"
    what = f"{kind} {name_of(function)}"
    if not callable(function):
        raise TypeError(f"{what} is no function; write {right}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{what} yields, and nobody would take what it does; write {right} without yield")
    if not any(takes(function, count) for count in range(least or len(names), len(names) + 1)):
        raise TypeError(f"{what} takes {inspect.signature(function)}; it is called with ({', '.join(names)}): {right}")
    check_annotations(what, function, parameters, right)


def check_annotations(what: str, function: Callable[..., Any], parameters: Sequence[Parameter], right: str) -> None:
    """Refuse parameters that are annotated with another class than they are given, as when two are swapped."""
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # they are for the type checker alone
        return
    for (name, type_), parameter in zip(parameters, inspect.signature(function).parameters, strict=False):
        hint = hints.get(parameter)
        if isinstance(hint, type) and not may_be(type_, hint):
            raise TypeError(
                f"{what}: its parameter {parameter!r} is annotated with {hint.__name__}, and gets the {name}, "
                f"which is of {type_.__name__}; write {right}"
            )


def may_be(type_: type, hint: type) -> bool:
    """Whether something of a type can be what an annotation says; True where that cannot be told."""
    try:
        return issubclass(type_, hint) or issubclass(hint, type_)
    except TypeError:  # of a protocol
        return True
