"""The API is tested as it is served: by the installed command, on a real port."""

from tests.acceptance.conftest import key, make_server, server

__all__ = ["key", "make_server", "server"]
