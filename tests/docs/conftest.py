"""Documentation is run against the server of the acceptance tests."""

from tests.acceptance.conftest import make_server, server

__all__ = ["make_server", "server"]
