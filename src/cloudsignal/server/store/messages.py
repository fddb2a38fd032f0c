"""What webhooks are known by: their ids, the same at every attempt and on every node."""

from hashlib import blake2b
from typing import Final

_PREFIX_CHARS: Final = 8


def of_signal(store: str, position: int) -> str:
    """The id of what is told of a signal, where ``store`` is the store's identity."""
    return f"msg_{store[:_PREFIX_CHARS]}_{position}"


def of_order(store: str, type: str, order: str) -> str:
    """The id of what is told, once, of a whole order."""
    digest = blake2b(f"{type} {order}".encode(), digest_size=12).hexdigest()
    return f"msg_{store[:_PREFIX_CHARS]}_{digest}"
