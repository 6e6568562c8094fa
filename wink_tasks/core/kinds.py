"""Whether what somebody gave is of the kind that it has to be: who keeps ids as numbers gives one easily."""

from __future__ import annotations

from collections.abc import Iterable
from types import UnionType
from typing import Any

from wink_tasks.core.errors import ParametersInvalidError, WinkError


def check_kind(
    what: str, given: object, kind: type | UnionType, words: str, error: type[WinkError] = ParametersInvalidError
) -> None:
    """Raise `error` for a value of another kind, which `words` tell. True and False are no whole numbers."""
    if not isinstance(given, kind) or (kind is int and isinstance(given, bool)):
        raise error(f"{what}={given!r} does not fit: it takes {words}, not {type(given).__name__}")


def models_in(model: Any) -> tuple[str, ...]:
    """Those that an option names, one alone or several in a list; what can be neither stands as it is."""
    return tuple(model) if isinstance(model, Iterable) and not isinstance(model, str) else (model,)


def are_models(models: object) -> bool:
    """Whether it is a tuple of one or more names."""
    return isinstance(models, tuple) and bool(models) and all(isinstance(model, str) for model in models)
