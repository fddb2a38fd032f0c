"""What only one at a time can have. That it ends with its process, the tests of those show who rely on it."""

from pathlib import Path

import pytest

from cloudsignal import OutboxError, SetupError
from cloudsignal.partner.claim import claim


def test_only_one_has_it_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "claim"
    first = claim(path)
    assert first is not None
    assert claim(path) is None
    first.close()
    second = claim(path)
    assert second is not None
    second.close()


def test_a_claim_that_cannot_be_had_says_nothing_of_an_outbox(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be opened: Is a directory") as raised:
        claim(tmp_path)
    assert not isinstance(raised.value, OutboxError)
    assert "outbox" not in str(raised.value).replace(str(tmp_path), "")
