"""What an evaluation may use, and what it has used. Tokens are counted, money is micro-dollars, time is seconds."""

from __future__ import annotations

from typing import Final, TypeGuard

import msgspec

from wink_tasks.core.errors import DeclarationError

MICROS_PER_DOLLAR: Final = 1_000_000


def is_number(given: object) -> TypeGuard[float]:
    """Whether it is a number that limits something: True and False are none."""
    return isinstance(given, int | float) and not isinstance(given, bool)


def check_seconds(what: str, option: str, given: object) -> None:
    """Raise DeclarationError for a limit in seconds that is neither None nor a number greater than zero."""
    if given is not None and not (is_number(given) and given > 0):
        raise DeclarationError(f"{what}: {option}={given!r} does not fit: it takes seconds, greater than zero")


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What model calls used. `cost_micros` is None when nothing tells what one of them cost."""

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    cost_micros: int | None = 0

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens

    @property
    def cost_usd(self) -> float | None:
        """The cost in dollars, None when it is not known."""
        return None if self.cost_micros is None else self.cost_micros / MICROS_PER_DOLLAR

    def __add__(self, other: Usage) -> Usage:
        unknown = self.cost_micros is None or other.cost_micros is None
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            requests=self.requests + other.requests,
            cost_micros=None if unknown else (self.cost_micros or 0) + (other.cost_micros or 0),
        )


class Budget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The most that an evaluation may use; None is no limit.

    Raises DeclarationError for a limit that is not positive.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cost_usd: float | None = None

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            limit = getattr(self, field)
            kind, words = (int | float, "a number") if field == "cost_usd" else (int, "a whole number")
            if limit is not None and not (is_number(limit) and isinstance(limit, kind) and limit > 0):
                message = f"Budget({field}={limit!r}): a limit is {words} greater than zero, or None for no limit"
                raise DeclarationError(message)

    def exceeded(self, usage: Usage) -> str | None:
        """Which limit `usage` has reached, in words; None while there is something left."""
        for field in ("input_tokens", "output_tokens", "total_tokens", "cost_usd"):
            limit = getattr(self, field)
            used = getattr(usage, field)
            if limit is not None and used is not None and used >= limit:
                return f"{field} {used} of {limit}"
        return None

    def output_left(self, usage: Usage) -> int | None:
        """How many output tokens the next answer may have; None is no limit."""
        left = []
        if self.output_tokens is not None:
            left.append(self.output_tokens - usage.output_tokens)
        if self.total_tokens is not None:
            left.append(self.total_tokens - usage.total_tokens)
        return max(1, min(left)) if left else None
