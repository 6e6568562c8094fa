"""Working days, for promised delivery dates."""

from __future__ import annotations

from datetime import date, timedelta

SATURDAY = 5


def is_working_day(day: date, holidays: frozenset[date] = frozenset()) -> bool:
    """Whether parcels leave the house on that day."""
    return day.weekday() < SATURDAY and day not in holidays


def promised(ordered: date, days: int, holidays: frozenset[date] = frozenset()) -> date:
    """The date `days` working days after `ordered`."""
    day = ordered
    while days > 0:
        day += timedelta(days=1)
        days -= is_working_day(day, holidays)
    return day
