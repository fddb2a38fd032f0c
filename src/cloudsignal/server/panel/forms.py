"""Forms as browsers post them."""

from typing import Final

from litestar.exceptions import ClientException

from cloudsignal.server.panel.pages import Asked

FORM_BYTES_MAX: Final = 1 << 16
"""The largest form that is read."""


async def form(request: Asked, *names: str) -> dict[str, str]:
    """The fields of a form, empty where they are left out. Raises ClientException."""
    given = await request.form()
    found = {name: given.get(name, "") for name in names}
    for name, value in found.items():
        if not isinstance(value, str) or "\0" in value:
            raise ClientException(f"{name}: this is no text")
    return found


def words(text: str) -> list[str]:
    """The words of a field, with blanks, commas or lines between them."""
    return text.replace(",", " ").split()
