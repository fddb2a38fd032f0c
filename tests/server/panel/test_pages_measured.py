"""Every page of the panel is among those whose speed is measured."""

import re

from litestar.handlers import HTTPRouteHandler

from benchmarks.browsing import PAGES
from cloudsignal.server.panel.application import ROUTES

NO_PAGES_THAT_READ = {"/static/{mark}/{name}", "/live", "/login", "/invitation/{secret}"}
"""A file, a stream, and what is there for those who are not signed in."""
UNTOLD = {"/alerts/messages/{message}"}
"""There is no message of an alert where nobody is told of any."""


def test_every_page_of_the_panel_is_measured() -> None:
    paths = {
        re.sub(r":\w+}", "}", path)
        for each in ROUTES
        if isinstance(each, HTTPRouteHandler) and "GET" in each.http_methods
        for path in each.paths
    }
    assert paths >= NO_PAGES_THAT_READ | UNTOLD
    asked = {path.partition("?")[0] for path in PAGES.values()}
    unmeasured = {
        path
        for path in paths - NO_PAGES_THAT_READ - UNTOLD
        if not any(re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), each) for each in asked)
    }
    assert not unmeasured
