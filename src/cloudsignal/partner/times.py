"""Times as signals tell them."""

from datetime import UTC, datetime


def now() -> str:
    """This moment, as a signal's ``datetime``: ``2016-01-20T13:00:00.250000+00:00``."""
    return datetime.now(UTC).isoformat()


def text_of(moment: datetime) -> str:
    """A moment as a signal's ``datetime``.

    Raises ValueError for one without a time zone: the server would have to guess it.
    """
    if moment.tzinfo is None:
        raise ValueError(
            "this datetime has no time zone: add one, such as moment.astimezone() for the zone of this machine"
        )
    return moment.isoformat()
