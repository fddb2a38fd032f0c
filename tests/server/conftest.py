"""What the server's tests share. The API is tested as it is served: by the installed command."""

import pytest

from tests.acceptance.conftest import key, make_server, server

__all__ = ["key", "make_server", "server"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
