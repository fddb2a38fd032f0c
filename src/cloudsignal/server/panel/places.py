"""Where the panel is, and orders and items on it.

Their ids stand in the query of a URL: browsers and proxies take ``..`` and ``/`` in a path for steps, percent-encoded
or not, and every id that a print partner chose has to lead somewhere.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

PREFIX: Final = "/panel"
"""What the paths of all pages begin with."""


def order_path(order: str) -> str:
    """The page of an order, below the panel's own path."""
    return f"/order?{query({'order': order})}"


def item_path(order: str, item: str) -> str:
    """The page of an item, below the panel's own path."""
    return f"/item?{query({'order': order, 'item': item})}"


def query(values: Mapping[str, str]) -> str:
    """Names and values as a URL has them behind its question mark, without those that are empty."""
    told = {name: value for name, value in values.items() if value}
    return urlencode(told, quote_via=quote, safe="")
