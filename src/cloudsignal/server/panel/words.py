"""Numbers as people read them."""

from typing import Final

from cloudsignal.protocol.units import HOUR_S, MINUTE_S
from cloudsignal.server.insight.survival import Curve

NOTHING: Final = "\N{EN DASH}"
"""What stands where nothing can be told."""
DIGITS_FROM: Final = 10
"""From so much on, whole numbers are told."""
# A number and its unit stay in one line.
_GAP: Final = "\N{NO-BREAK SPACE}"


def duration(seconds: float | None) -> str:
    """A duration: in hours, or in what is smaller."""
    if seconds is None:
        return NOTHING
    if abs(seconds) < 1:
        return f"<{_GAP}1{_GAP}s"
    if abs(seconds) < MINUTE_S:
        return _short(seconds, "s")
    if abs(seconds) < HOUR_S:
        return _short(seconds / MINUTE_S, "min")
    return _short(seconds / HOUR_S, "h")


def quantile(curve: Curve, share: float) -> str:
    """The duration within which such a share of a curve ends; or what it is longer than, as far as is known."""
    found = curve.quantile(share)
    if found is None and curve.times_s:
        return f">{_GAP}{duration(curve.times_s[-1])}"
    return duration(found)


def hours(count: float | None) -> str:
    """A number of hours."""
    return NOTHING if count is None else _short(count, "h")


def percent(share: float | None) -> str:
    """A share of 1. What is not quite nothing or all is not told as such."""
    if share is None:
        return NOTHING
    whole = round(100 * share)
    if whole in (0, 100) and share not in (0, 1):
        return f"<{_GAP}1{_GAP}%" if whole == 0 else f">{_GAP}99{_GAP}%"
    return f"{whole}{_GAP}%"


def points(score: float | None) -> str:
    """A score from 0 to 100."""
    return NOTHING if score is None else f"{score:.0f}"


def number(count: int) -> str:
    """A whole number, in groups of three digits."""
    return f"{count:,}"


def _short(value: float, unit: str) -> str:
    digits = 0 if round(abs(value), 1) >= DIGITS_FROM else 1
    return f"{value:,.{digits}f}".removesuffix(".0").replace("-", "\N{MINUS SIGN}") + _GAP + unit
