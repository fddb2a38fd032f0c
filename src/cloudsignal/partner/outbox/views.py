"""What programs are shown of an outbox: all that there is, with instants as ISO 8601 has them."""

from typing import Any

from msgspec import structs

from cloudsignal.partner.outbox.file import Entry, Health, Trouble
from cloudsignal.protocol import datetimes


def entry_view(entry: Entry) -> dict[str, Any]:
    """A signal, and what became of it."""
    return structs.asdict(entry) | {"put": _iso(entry.put), "settled": _iso(entry.settled)}


def health_view(health: Health) -> dict[str, Any]:
    """How an outbox is doing."""
    trouble = None if health.trouble is None else _trouble_view(health.trouble)
    return structs.asdict(health) | {"oldest": _iso(health.oldest), "trouble": trouble}


def _trouble_view(trouble: Trouble) -> dict[str, Any]:
    return structs.asdict(trouble) | {"since": _iso(trouble.since)}


def _iso(instant: int | None) -> str | None:
    return None if instant is None else datetimes.write(instant)
