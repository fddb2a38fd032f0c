"""Drawing the live picture once for all who look at it."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC
from pathlib import Path

import pytest

from cloudsignal.server.panel.dashboard import Dashboard, View
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store, open_store
from tests.server.arrivals import NOON

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/a.db")) as store:
        yield store


async def test_a_picture_that_failed_is_drawn_again_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    dashboard = Dashboard(store, lambda: NOON, UTC)
    counts, asked = store.rollups.counts, []

    def away_at_first(what: str, **chosen: int) -> dict[tuple[int, str], int]:
        asked.append(what)
        if len(asked) == 1:
            raise StoreUnavailable("away")
        return counts(what, **chosen)

    monkeypatch.setattr(store.rollups, "counts", away_at_first)
    with pytest.raises(StoreUnavailable):
        await dashboard.picture(View(None, "30d"))

    picture = await dashboard.picture(View(None, "30d"))

    drawn = len(asked)
    assert await dashboard.picture(View(None, "30d")) == picture
    assert len(asked) == drawn
