"""Sign-ins that failed: each is counted, and told in the log."""

from collections.abc import Callable
from typing import Final, Literal

from cloudsignal.server.store.users import User

Why = Literal[
    "no_such_user", "disabled", "wrong_password", "wrong_code", "unreadable_factor", "too_often"
]
"""Why a sign-in failed. To who tries, the first four are one."""
TOLD_MAX: Final = 1_000
"""Of how many who are not listened to it is remembered that the log has told of them."""


class FailedSignIns:
    """Notes sign-ins that failed: ``count`` counts one of them, ``warn`` writes a line of the log."""

    def __init__(self, count: Callable[[str], None], warn: Callable[..., None]) -> None:
        self._count = count
        self._warn = warn
        self._told: dict[str, int] = {}

    def note(self, why: Why, address: str, user: User | None, *, in_log: bool = True) -> None:
        """Note one from an address, of a user if there is such a one.

        What was given as a name is not told where nobody has it: people type passwords there.
        """
        self._count(why)
        if in_log:
            whose = {} if user is None else {"user": user.name}
            self._warn("sign-in failed", why=why, **whose, address=address)

    def is_news(self, who: str, until: int) -> bool:
        """Whether it is new that ``who`` is not listened to until an instant: to the first who asks."""
        if self._told.get(who) == until:
            return False
        if len(self._told) >= TOLD_MAX:
            self._told.clear()
        self._told[who] = until
        return True
