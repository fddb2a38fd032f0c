"""Forms as browsers post them."""

from collections.abc import Collection
from typing import Final

from litestar.exceptions import ClientException

from cloudsignal.server.bodies import Unfit
from cloudsignal.server.panel.pages import Asked

FORM_BYTES_MAX: Final = 1 << 16
"""The largest form that is read."""


async def form(request: Asked, *names: str) -> dict[str, str]:
    """The fields of a form, empty where they are left out. Raises ClientException."""
    given = await request.form()
    return {name: _text(name, given.get(name, "")) for name in names}


async def ticked(request: Asked, name: str) -> list[str]:
    """What was ticked of a form's check boxes of one name. Raises ClientException."""
    given = await request.form()
    return [_text(name, each) for each in given.getall(name, [])]


def words(text: str) -> list[str]:
    """The words of a field, with blanks, commas or lines between them."""
    return text.replace(",", " ").split()


def places(error: Unfit, fields: Collection[str]) -> dict[str, str]:
    """What is wrong with what a form says, by its fields; by an empty name what belongs above all of them."""
    found: dict[str, list[str]] = {}
    for each in error.wrong:
        field = each.at.partition("[")[0]
        is_seen = field in fields
        found.setdefault(field if is_seen else "", []).append(each.info if is_seen else str(each))
    return {field: "; ".join(infos) for field, infos in found.items()}


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ClientException(f"{name}: this is no text")
    return value
