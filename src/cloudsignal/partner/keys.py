"""Where a print partner's key comes from, and that it is never shown."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Never

from cloudsignal.partner.errors import SetupError

APIKEY: Final = "CLOUDSIGNAL_APIKEY"
"""The environment variable that holds a key."""
APIKEY_FILE: Final = "CLOUDSIGNAL_APIKEY_FILE"
"""The one that names a file with a key."""
APIKEY_CHARACTERS_MAX: Final = 512


class ApiKey:
    """A key. It is in no repr, no log line, no traceback and no pickle; ``reveal`` gives it."""

    __slots__ = ("reveal",)

    def __init__(self, text: str) -> None:
        """Raises SetupError when the text cannot be a key."""
        key = text.strip()
        if not key:
            raise SetupError(
                "the apikey is empty: take the one that the server's operator gave you"
            )
        if len(key) > APIKEY_CHARACTERS_MAX or not key.isprintable() or " " in key:
            raise SetupError(
                "this is no apikey: it has blanks or line breaks in it, or is too long"
            )
        # Not an attribute with the key in it: some traces show those.
        self.reveal: Callable[[], str] = lambda: key

    def __repr__(self) -> str:
        return "ApiKey(…)"

    def __reduce__(self) -> Never:
        raise TypeError("a key is not to be stored")


class Sealed(bytes):
    """What bears a key: it is shown nowhere either, not even among the variables of an interrupted call."""

    def __repr__(self) -> str:
        return f"Sealed({len(self)} bytes)"


def read_apikey(
    given: str | ApiKey | None = None,
    *,
    file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> ApiKey:
    """The key that is given, else that in the file, else that of the environment.

    Raises SetupError when there is none, or when it cannot be read.
    """
    try:
        return _read(given, file, environ)
    except SetupError as error:
        sentence = str(error)
    # Out here, and without what may hold a key: some traces show the variables of each call.
    del given, environ
    raise SetupError(sentence)


def _read(
    given: str | ApiKey | None, file: str | os.PathLike[str] | None, environ: Mapping[str, str]
) -> ApiKey:
    if isinstance(given, ApiKey):
        return given
    if given is not None:
        return ApiKey(given)
    if file is None and environ.get(APIKEY):
        return ApiKey(environ[APIKEY])
    path = file or environ.get(APIKEY_FILE)
    if path is None:
        raise SetupError(
            f"there is no apikey: set {APIKEY}, or name a file that holds it in {APIKEY_FILE}"
        )
    try:
        return ApiKey(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8: save it as such"
        raise SetupError(f"the apikey cannot be read from {path}: {why}") from None
