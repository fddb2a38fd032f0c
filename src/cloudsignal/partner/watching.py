"""A hot folder: files that other software puts into it become signals in an outbox.

A file is taken once it has stopped growing. All of its signals are put, then it is moved to ``done/``; when anything in
it is wrong, none is, and it is moved to ``failed/`` beside a text that says what. If the machine stops in
between, the file is taken again, and the server recognises what it has already. Links and folders are left alone.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from cloudsignal.partner.beside import vacant
from cloudsignal.partner.claim import Claim, claim
from cloudsignal.partner.errors import SetupError
from cloudsignal.partner.reading import signals_in
from cloudsignal.partner.rows import Layout, Table
from cloudsignal.protocol.signals import Signal

DONE: Final = "done"
FAILED: Final = "failed"
SETTLE_S: Final = 2.0
"""How long a file has to stay as it is before it is taken."""
JSON_SUFFIXES: Final = frozenset({".json", ".jsonl", ".ndjson"})
TABLE_SUFFIXES: Final = frozenset({".csv", ".tsv", ".xlsx"})
UNFINISHED_PREFIXES: Final = (".", "~")
UNFINISHED_SUFFIXES: Final = (".tmp", ".part", ".partial", ".filepart", ".crdownload")
"""How programs call files that they have not finished yet."""
PUT_AT_ONCE: Final = 1000
PROBLEMS_MAX: Final = 100
"""How many problems of a file are told."""


class Putting(Protocol):
    """Who takes the signals."""

    def put(self, *signals: Signal) -> object: ...


class Taken(Struct, frozen=True):
    """A file that was taken: where it is now, how many signals were in it, and what was wrong with it."""

    path: Path
    signals: int
    problems: tuple[str, ...]


class _Seen(Struct):
    """A file as it was seen, since when it is so, and how many of its signals were put already."""

    size: int
    changed_ns: int
    since: float
    put: int = 0

    def is_like(self, stat: os.stat_result) -> bool:
        return (self.size, self.changed_ns) == (stat.st_size, stat.st_mtime_ns)


class Folder:
    """A folder that is looked at again and again. Only one program at a time watches a folder."""

    def __init__(
        self,
        path: Path,
        outbox: Putting,
        layout: Layout,
        *,
        clock: Callable[[], float],
        settle_s: float = SETTLE_S,
    ) -> None:
        """``layout`` says how tables are read, ``clock`` tells seconds and never goes back.

        Raises SetupError when the folder cannot be used, or another program watches it.
        """
        self.path = path
        self._outbox = outbox
        self._layout = layout
        self._clock = clock
        self._settle_s = settle_s
        self._seen: dict[str, _Seen] = {}
        self._claim = _claimed(path)

    def close(self) -> None:
        """Let others watch it."""
        self._claim.close()

    def look(self) -> Iterator[Taken]:
        """Take every file that has not changed since some time, the oldest first.

        Raises OutboxError when the outbox takes nothing, OSError when a file cannot be read or moved: it stays where it
        is then, and what was put of it is not put again.
        """
        now = self._clock()
        there = {entry.name: entry.stat() for entry in os.scandir(self.path) if _is_meant(entry)}
        self._seen = {name: self._still(name, stat, now) for name, stat in there.items()}
        settled = [name for name, seen in self._seen.items() if now - seen.since >= self._settle_s]
        trouble = None
        for name in sorted(settled, key=lambda name: (self._seen[name].changed_ns, name)):
            try:
                taken = self._take(self.path / name)
            except OSError as error:
                trouble = error  # Of this file: others are not to wait for it.
                continue
            if taken is not None:
                yield taken
        if trouble is not None:
            raise trouble

    @property
    def is_unsettled(self) -> bool:
        """Whether there are files that were seen, and not taken yet."""
        return bool(self._seen)

    def _still(self, name: str, stat: os.stat_result, now: float) -> _Seen:
        known = self._seen.get(name)
        if known is not None and known.is_like(stat):
            return known
        return _Seen(stat.st_size, stat.st_mtime_ns, now)

    def _take(self, path: Path) -> Taken | None:
        """Put a file's signals and move it; None when it changes meanwhile, and is to be looked at again."""
        seen = self._seen[path.name]
        count, problems = _looked_through(path, self._layout)
        if not problems:
            self._put(path, seen)
        target = _vacant_in(self.path / (FAILED if problems else DONE), path.name)
        path.rename(target)
        if not seen.is_like(target.stat()):
            # Only now nobody can put another one there. That one is to be looked at too.
            target.rename(vacant(path))
            return None
        if problems:
            _write_reason(target, problems)
        del self._seen[path.name]
        return Taken(target, 0 if problems else count, problems)

    def _put(self, path: Path, seen: _Seen) -> None:
        """Put those signals of a file that were not put before."""
        signals = (signal for signal, _ in _signals(path, self._layout) if signal is not None)
        rest = islice(signals, seen.put, None)
        while some := tuple(islice(rest, PUT_AT_ONCE)):
            self._outbox.put(*some)
            seen.put += len(some)


def _claimed(path: Path) -> Claim:
    try:
        for name in (DONE, FAILED):
            (path / name).mkdir(exist_ok=True)
        found = claim(path / ".cloudsignal-watch")
    except (OSError, SetupError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise SetupError(f"the folder {path} cannot be watched: {why}") from None
    if found is None:
        raise SetupError(f"another program watches the folder {path} already")
    return found


def _is_meant(entry: "os.DirEntry[str]") -> bool:
    name = entry.name.lower()
    return (
        entry.is_file(follow_symlinks=False)
        and not name.startswith(UNFINISHED_PREFIXES)
        and not name.endswith(UNFINISHED_SUFFIXES)
    )


def _looked_through(path: Path, layout: Layout) -> tuple[int, tuple[str, ...]]:
    """How many signals a file holds, and what is wrong with it."""
    count = 0
    problems: list[str] = []
    try:
        for signal, told in _signals(path, layout):
            count += signal is not None
            problems += told
            if len(problems) >= PROBLEMS_MAX:
                break
    except (SetupError, OSError) as error:
        problems.append(str(error))
    if not count and not problems:
        problems.append("there is no signal in it")
    return count, tuple(problems)


def _signals(path: Path, layout: Layout) -> Iterator[tuple[Signal | None, list[str]]]:
    """What stands at each place of a file: a signal, or what is wrong there."""
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        for row in Table(path, layout).rows():
            yield row.signal, [f"line {row.line}: {each}" for each in row.problems]
    elif suffix in JSON_SUFFIXES:
        with path.open("rb") as file:
            for found in signals_in(file):
                yield found.signal, [f"{found.place}: {each}" for each in found.problems]
    else:
        known = ", ".join(sorted(JSON_SUFFIXES | TABLE_SUFFIXES))
        raise SetupError(
            f"what a file {suffix or 'without an ending'} holds is not known: {known} are"
        )


def _vacant_in(folder: Path, name: str) -> Path:
    """Where a file of this name can be put in a folder, which somebody may have cleared away."""
    folder.mkdir(exist_ok=True)
    return vacant(folder / name)


def _write_reason(target: Path, problems: Sequence[str]) -> None:
    """Say beside a file what is wrong with it."""
    reason = "".join(f"{each}\n" for each in problems)
    beside = target.with_name(f"{target.name}.reason.txt")
    # Names need not be text.
    beside.write_text(reason, encoding="utf-8", errors="backslashreplace")
