"""``cloudsignal doctor``: whether signals will get through."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cloudsignal.cli.outbox import OutboxFile
from cloudsignal.cli.output import Failed, Json, plain, print_json
from cloudsignal.cli.profile import (
    Reach,
    client_of,
    failing,
    in_force,
    reaching,
)

if TYPE_CHECKING:
    from cloudsignal.partner.doctor import Finding


@reaching
def examine_setup(
    json: Json = False,
    outbox: OutboxFile = None,
    *,
    reach: Reach,
) -> None:
    """Look whether signals will get through: address, server, key, clock, outbox. Nothing is sent."""
    found: list[Finding] = []
    with failing():
        for finding in _examined(reach, outbox):
            found.append(finding)
            if not json:
                _print(finding)
    if json:
        print_json(found)
    wrong = [finding.what for finding in found if not finding.ok]
    if wrong:
        raise Failed(f"not as it should be: {', '.join(wrong)}")


def _examined(reach: Reach, outbox: Path | None) -> Iterator["Finding"]:
    """What there is to find, also when it is not known where to or with which key."""
    from cloudsignal.partner.doctor import Finding, examine, examine_outbox
    from cloudsignal.partner.errors import SetupError

    try:
        chosen = in_force(reach)
        if outbox is None and chosen.outbox is not None:
            outbox = Path(chosen.outbox)
        client = client_of(chosen)
    except SetupError as error:
        yield Finding("setup", False, str(error))
        if outbox is not None:
            yield from examine_outbox(outbox)
        return
    with client:
        yield from examine(client, outbox)


def _print(finding: "Finding") -> None:
    print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what:8} {plain(finding.info)}", flush=True)
