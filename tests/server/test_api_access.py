"""Who may read what, and what everybody is answered who may not, or who asks wrongly."""

import asyncio
from typing import Any

import httpx2
import msgspec
import pytest
from litestar.routes import HTTPRoute

from cloudsignal.server import clock
from cloudsignal.server.api import create
from cloudsignal.server.api.application import ROUTES
from cloudsignal.server.api.problems import ProblemDetails
from cloudsignal.server.api.requests import OPERATOR, READER
from cloudsignal.server.store.errors import StoreUnavailable
from tests.acceptance.conftest import Answer, Server, fresh

FOR_OPERATORS = "/api/v1/interfaces"
FOR_READERS = [
    "/api/v1/items",
    "/api/v1/items/1/2",
    "/api/v1/orders/1",
    "/api/v1/signals",
    "/api/v1/signals/live?after=x",
    "/api/v1/partners",
    "/api/v1/owners",
    "/api/v1/endpoints",
    "/api/v1/endpoints/1/deliveries",
    "/api/v1/attempts",
]


def problem(answer: Answer, status: int) -> ProblemDetails:
    """The problem that an answer tells."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    told = msgspec.json.decode(answer.body, type=ProblemDetails)
    assert told.status == status
    assert told.detail
    return told


# ---- tokens ----


@pytest.mark.parametrize("path", [*FOR_READERS, FOR_OPERATORS])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer cst_00000000000000000000000000000000"},
        {"Authorization": "Bearer something"},
        {"Authorization": "Basic cst_x"},
        {"Authorization": "Bearer \xff"},
    ],
    ids=str,
)
def test_without_a_known_token_everything_is_401(
    server: Server, path: str, headers: dict[str, str]
) -> None:
    answer = server.request("GET", path, headers=headers)
    told = problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert (told.type, told.title) == ("about:blank", "Unauthorized")
    assert told.instance == path.partition("?")[0]


def test_an_apikey_is_no_token(server: Server, key: str) -> None:
    answer = server.get("/api/v1/items", key)
    problem(answer, 401)
    assert key not in answer.body.decode()


def test_a_revoked_token_ends_at_once(server: Server) -> None:
    token = server.token()
    assert server.get("/api/v1/items", token).status == 200
    with server.access() as (access, keyring):
        name = access.find_token(keyring.digest(token)).name
        access.revoke_token(name, now=clock.now())
    assert "revoked" in problem(server.get("/api/v1/items", token), 401).detail


def test_a_reader_may_not_see_interfaces(server: Server) -> None:
    told = problem(server.get(FOR_OPERATORS), 403)
    assert told.detail == "this needs a token of the role operator: yours is reader"


@pytest.mark.parametrize("role", ["operator", "admin"])
def test_a_higher_role_may_see_what_a_lower_one_may(server: Server, role: str) -> None:
    token = server.token(role)
    for path in (FOR_OPERATORS, "/api/v1/items", "/api/v1/signals", "/api/v1/partners"):
        assert server.get(path, token).status == 200


def test_every_route_says_who_may_see_it() -> None:
    app: Any = create(*[None] * 4)._app  # type: ignore[arg-type]
    handlers = [
        handler
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.http_methods != {"OPTIONS"}
    ]
    unguarded = {handler.handler_name for handler in handlers if not handler.guards}
    assert unguarded == {"document"}
    assert len(handlers) == len(ROUTES) + 1
    guards = [guard for handler in handlers for guard in handler.guards or ()]
    assert all(guard in (READER, OPERATOR) for guard in guards)


# ---- what is asked wrongly ----


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/api/v1/nothing", "/api/v1/items/1", "/ü"])
def test_an_unknown_address_is_404(server: Server, path: str) -> None:
    told = problem(server.get(path.replace("ü", "%C3%BC")), 404)
    assert "/api/v1/openapi.json" in told.detail
    assert told.instance == path.replace("ü", "%C3%BC")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_another_method_is_405(server: Server, method: str) -> None:
    answer = server.request(method, "/api/v1/items")
    problem(answer, 405)
    assert "GET" in answer.headers["allow"]


def test_a_query_that_is_no_utf_8_finds_nothing(server: Server) -> None:
    assert server.get("/api/v1/items?order=%FF%FE").json == {"items": [], "next": None}


@pytest.mark.parametrize(
    "path",
    [
        "items?order=%00",
        "search?q=7%00",
        "attempts?message=a%00",
        "endpoints?owner=%00",
        "orders/%00",
        "items/1/%00",
    ],
)
def test_a_nul_is_400_because_not_every_store_can_look_for_it(server: Server, path: str) -> None:
    told = problem(server.get(f"/api/v1/{path}"), 400)
    assert told.detail.endswith(": no id and no name has a character NUL")


def test_the_document_is_for_everyone(server: Server) -> None:
    answer = server.request("GET", "/api/v1/openapi.json")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["openapi"] == "3.1.0"


# ---- what goes wrong here ----


class Broken:
    """A store, or whoever looks tokens up, that raises whatever it is asked."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error


def ask_in_process(store: Any, tokens: Any) -> Answer:
    """The answer of an API that has these parts."""

    async def asked() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=create(store, tokens, None, None))  # type: ignore[arg-type]
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/api/v1/partners")

    response = asyncio.run(asked())
    return Answer(response.status_code, dict(response.headers), response.content)


class Anyone:
    """Lets everybody in."""

    async def holder_of(self, authorization: bytes, needed: str) -> None: ...


def test_a_store_that_is_away_is_503() -> None:
    away = Broken(StoreUnavailable("the store cannot be used just now: disk I/O error"))
    for parts in ((away, Anyone()), (None, away)):
        answer = ask_in_process(*parts)
        assert "disk I/O error" in problem(answer, 503).detail
        assert int(answer.headers["retry-after"]) > 0


def test_a_defect_is_500_and_tells_its_cause_to_the_log_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = ask_in_process(Broken(RuntimeError(fresh("what happened"))), Anyone())
    told = problem(answer, 500)
    assert "what happened" not in told.detail
    assert "what happened" in caplog.text
