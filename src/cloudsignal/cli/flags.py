"""Flags that are made from a declaration elsewhere."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any


def with_flags(
    command: Callable[..., None],
    into: str,
    flags: Sequence[inspect.Parameter],
    kind: Callable[..., Any] = dict,
) -> Callable[..., None]:
    """The command with these flags in the place of its parameter ``into``, which gets them as one thing of this kind."""
    names = [flag.name for flag in flags]

    def called(**values: Any) -> None:
        command(**{into: kind(**{name: values.pop(name) for name in names})}, **values)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        own = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        parameters += flags if parameter.name == into else [own]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    called.__name__ = command.__name__
    called.__doc__ = command.__doc__
    return called
