"""The API as one ASGI application."""

from typing import Any, Final

import msgspec
from litestar import Litestar, Response, Router, get
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from cloudsignal import __version__
from cloudsignal.asgi import Receive, Scope, Send
from cloudsignal.server.api import endpoints, openapi, problems, requests, routes
from cloudsignal.server.delivery.desk import Desk
from cloudsignal.server.events import Followers
from cloudsignal.server.store.store import Store
from cloudsignal.server.tokens import Tokens

PREFIX: Final = "/api/v1"
ROUTES: Final = [*routes.ROUTES, *endpoints.ROUTES]


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def document(state: State) -> Response[bytes]:
    """The OpenAPI document, for anyone."""
    return Response(state.document, media_type="application/json")


class Api:
    """Hands requests to Litestar with their path as it was sent.

    The server decodes a path before it is split, so that an id with a slash in it would become two;
    here it is split as it came, and each handler decodes its own part.
    """

    def __init__(self, app: Litestar) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        app: Any = self._app
        await app({**scope, "path": scope["raw_path"].decode("ascii")}, receive, send)


def create(store: Store, tokens: Tokens, followers: Followers, desk: Desk) -> Api:
    """The API on a store."""
    described = Router("/", route_handlers=ROUTES, before_request=requests.refuse_parameters)
    app = Litestar(
        [Router(PREFIX, route_handlers=[described, document])],
        state=State(
            {
                "store": store,
                "tokens": tokens,
                "followers": followers,
                "desk": desk,
                "document": _document(),
            }
        ),
        exception_handlers=problems.HANDLERS,
        logging_config=None,
        openapi_config=None,
    )
    return Api(app)


def _document() -> bytes:
    """The OpenAPI document.

    An application that describes itself serves pages of its own as well, which load their scripts
    from elsewhere: so one is described, and another one serves.
    """
    described = Litestar(
        [Router(PREFIX, route_handlers=ROUTES)],
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="cloudsignal",
            version=__version__,
            description="Signals in, items out: a server for the CloudSignal API 2.0.",
            components=Components(
                security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}
            ),
            security=[{"token": []}],
            render_plugins=[],
            use_handler_docstrings=True,
        ),
    )
    return msgspec.json.encode(openapi.completed(described.openapi_schema.to_schema()))
