"""The JSON API."""

from typing import Any


def create(*parts: Any) -> Any:
    """Nothing yet."""
    raise NotImplementedError
