"""What a server holds, through its JSON API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx2
import msgspec
from msgspec import Struct

from cloudsignal.protocol import datetimes, retry
from cloudsignal.simulator.standings import Parcel, Standing, lasting

PAGE: Final = 1000
"""How many items are asked for at once: as many as a server gives."""
TRIES: Final = 5
TIMEOUT_S: Final = 30.0
JITTER: Final = 0.5
ONE_BY_ONE: Final = 8
"""How many items are asked for at once where each has to be asked for by itself."""


Shown = TypeVar("Shown", bound=Struct)


class ReadFailed(Exception):
    """What the server holds cannot be read; the message says why and what to do."""


class ShownParcel(Struct):
    """A parcel as the API shows it."""

    tracking: str
    shipping_option: str
    datetime: str


class ShownItem(Struct):
    """An item as the API shows it, as far as it is compared."""

    order: str
    item: str
    state: str
    delayed: bool
    parcels: list[ShownParcel]
    cause: str | None
    message: str | None
    delay_hours: float | None
    findings: list[str]
    times: dict[str, str]

    @property
    def standing(self) -> Standing:
        """Where the item stands, as the server says. Raises ValueError for a datetime that is none."""
        return Standing(
            state=self.state,
            delayed=self.delayed,
            parcels=tuple(
                Parcel(each.tracking, each.shipping_option, _instant(each.datetime))
                for each in self.parcels
            ),
            cause=self.cause,
            message=self.message,
            delay_hours=self.delay_hours,
            times={step: _instant(when) for step, when in self.times.items()},
            findings=lasting(self.findings),
        )


class _Page(Struct):
    items: list[ShownItem]
    next: str | None


class Reader:
    """Reads items with a bearer token. Every method may raise ReadFailed."""

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._sleep = sleep
        self._http = httpx2.AsyncClient(
            base_url=f"{base_url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_S,
            transport=transport,
        )

    async def knows_order(self, order: str) -> bool:
        """Whether a signal has come for this order. It shows also whether the token is any good."""
        return bool((await self._page(order=order, limit=1)).items)

    async def items_since(self, since: str) -> AsyncIterator[ShownItem]:
        """Every item that has changed since then, in pages."""
        cursor: str | None = None
        while True:
            page = await self._page(since=since, limit=PAGE, cursor=cursor)
            for item in page.items:
                yield item
            cursor = page.next
            if cursor is None:
                return

    async def items(self, keys: Sequence[tuple[str, str]]) -> list[ShownItem]:
        """These items, by order and item id, as far as they are there; each is asked for by itself."""
        limit = asyncio.Semaphore(ONE_BY_ONE)

        async def one(order: str, item: str) -> ShownItem | None:
            async with limit:
                return await self._item(order, item)

        found = await asyncio.gather(*(one(*key) for key in keys))
        return [item for item in found if item is not None]

    async def _item(self, order: str, item: str) -> ShownItem | None:
        path = f"/items/{quote(order, safe='')}/{quote(item, safe='')}"
        response = await self._get(path)
        return None if response.status_code == 404 else _decoded(response, ShownItem)

    async def _page(self, **parameters: Any) -> _Page:
        given = {name: value for name, value in parameters.items() if value is not None}
        return _decoded(await self._get("/items", given), _Page)

    async def _get(self, path: str, parameters: dict[str, Any] | None = None) -> httpx2.Response:
        """An answer that is no fault of the moment."""
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await self._http.get(path, params=parameters)
            except httpx2.HTTPError as error:
                status, why = None, f"{str(error) or type(error).__name__}"
            else:
                status, why = response.status_code, f"it answers {response.status_code}"
                if not retry.is_worth_retrying(status):
                    return response
            if attempt >= TRIES:
                raise ReadFailed(f"the items cannot be read from {self._http.base_url}: {why}")
            await self._sleep(retry.delay_s(attempt, jitter=JITTER))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _decoded(response: httpx2.Response, kind: type[Shown]) -> Shown:
    status = response.status_code
    if status in (401, 403):
        raise ReadFailed(
            f"the server answers {status} to the token: make one with `cloudsignal token create NAME`"
        )
    if status != 200:
        raise ReadFailed(
            f"the items cannot be read: {response.url} answers {status}; is it a cloudsignal server?"
        )
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError as error:
        raise ReadFailed(
            f"{response.url} answers what no cloudsignal server does: {error}"
        ) from None


def _instant(text: str) -> int:
    return datetimes.parse(text, UTC)
