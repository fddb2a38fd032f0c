"""What webhooks are known by: their ids, the same at every attempt and on every node."""

import re
from hashlib import blake2b
from typing import Final

_PREFIX_CHARS: Final = 8
# A digest has more digits than any position.
_OF_SIGNAL: Final = re.compile(r"msg_[0-9a-z]+_([0-9]{1,19})")


def of_signal(store: str, position: int) -> str:
    """The id of what is told of a signal, where ``store`` is the store's identity."""
    return f"msg_{store[:_PREFIX_CHARS]}_{position}"


def of_order(store: str, type: str, order: str) -> str:
    """The id of what is told, once, of a whole order."""
    digest = blake2b(f"{type} {order}".encode(), digest_size=12).hexdigest()
    return f"msg_{store[:_PREFIX_CHARS]}_{digest}"


def position_of(message: str) -> int:
    """The position of the signal that is told, 0 if it is told of a whole order or is a test."""
    found = _OF_SIGNAL.fullmatch(message)
    return int(found[1]) if found else 0
