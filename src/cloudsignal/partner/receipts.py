"""What a print partner holds in its hands once its signals are stored."""

from msgspec import Struct


class Receipt(Struct, frozen=True):
    """Signals that a server has stored.

    ``signals`` is how many were sent. ``accepted`` of them were new, ``duplicates`` known already, and
    ``position`` is that of the last one in the server's log: all three None where the server does not tell.
    """

    signals: int
    accepted: int | None = None
    duplicates: int | None = None
    position: int | None = None

    def __add__(self, other: "Receipt") -> "Receipt":
        """The receipt for both. One for nothing adds nothing, not even that it knows no position."""
        if not (self.signals and other.signals):
            return self if self.signals else other
        return Receipt(
            self.signals + other.signals,
            _sum(self.accepted, other.accepted),
            _sum(self.duplicates, other.duplicates),
            other.position,
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
