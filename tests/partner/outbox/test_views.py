"""What programs are shown of an outbox."""

from cloudsignal.partner.outbox.file import Health, Trouble
from cloudsignal.partner.outbox.views import health_view

SECOND = 1_000_000


def test_instants_are_told_as_iso_8601_has_them() -> None:
    health = Health(2, 1, 60 * SECOND, None, Trouble("it rains", 61 * SECOND, 3), 4096)
    assert health_view(health) == {
        "waiting": 2,
        "refused": 1,
        "oldest": "1970-01-01T00:01:00+00:00",
        "paused": None,
        "trouble": {"info": "it rains", "since": "1970-01-01T00:01:01+00:00", "tries": 3},
        "file_bytes": 4096,
    }
    well = health_view(Health(0, 0, None, None, None, 4096))
    assert (well["oldest"], well["trouble"]) == (None, None)
