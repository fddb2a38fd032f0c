"""The process that writes: its frames, its groups, and a defect in one post."""

from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.protocol.wire import Receipt
from cloudsignal.server import writer
from cloudsignal.server.store.log import Arrival
from cloudsignal.server.store.sqlite.writer import Writer
from cloudsignal.server.store.store import Store, open_store
from tests.server.arrivals import arrival, report
from tests.server.store.contract import furnish


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url)) as store:
        furnish(store)
        yield store


@pytest.fixture
def log_writer(store: Store, tmp_path: Path) -> Iterator[Writer]:
    with closing(Writer(tmp_path / "store.db")) as log_writer:
        yield log_writer


# ---- frames ----


@given(payloads=st.lists(st.binary(max_size=300), max_size=6), data=st.data())
def test_frames_come_together_again_wherever_they_were_split(
    payloads: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(writer.frame, payloads))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    frames = writer.Frames()

    got: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += frames.feed(stream[start:end])

    assert got == payloads


def test_a_frame_comes_out_with_its_last_byte() -> None:
    frames = writer.Frames()
    stream = writer.frame(b"x" * 70_000)

    assert frames.feed(stream[:-1]) == []
    assert frames.feed(stream[-1:]) == [b"x" * 70_000]


# ---- groups ----


@given(sizes=st.lists(st.integers(1, 9), max_size=20), most=st.integers(1, 12))
def test_groups_keep_the_order_and_are_as_large_as_they_may_be(sizes: list[int], most: int) -> None:
    one = report()
    posts = [arrival(*[one] * size, received=number) for number, size in enumerate(sizes)]

    groups = list(writer.groups(posts, most))

    assert [post for group in groups for post in group] == posts
    counts = [[len(post.reports) for post in group] for group in groups]
    assert all(sum(group) <= most or len(group) == 1 for group in counts)
    for group, following in pairwise(counts):
        assert sum(group) + following[0] > most


# ---- a defect in one post ----


def defective(item: str) -> Arrival:
    """A post that no check lets through: what it holds is no text."""
    return arrival(msgspec.structs.replace(report(item=item), body=b"\xff"))


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_defect_in_one_post_does_not_hurt_the_others(
    log_writer: Writer, store: Store, place: int
) -> None:
    posts = [arrival(report(item=str(number))) for number in range(3)]
    foreign = arrival(report(item="0", minute=1), partner=2)
    group = [*posts, foreign]
    group.insert(place, defective("bad"))

    answers = writer._write(log_writer, group)

    assert [each is None for each in answers.receipts] == [
        index in (place, len(group) - 1) for index in range(len(group))
    ]
    assert {index: each[0].type for index, each in answers.problems.items()} == {
        len(group) - 1: "not_your_item"
    }
    assert answers.failure.startswith("a defect: UnicodeDecodeError")
    assert [each.item for each in store.reading.signals(after=0, limit=9)] == ["0", "1", "2"]
    assert store.rebuild().differed == 0


def test_a_defective_post_alone_is_answered(log_writer: Writer, store: Store) -> None:
    answers = writer._write(log_writer, [defective("bad")])

    assert (answers.receipts, answers.problems) == ([None], {})
    assert store.reading.last_position() == 0


# ---- the loop ----


class Pieces:
    """A connection on which everything comes in pieces of one size, and then the end."""

    def __init__(self, stream: bytes, size: int) -> None:
        self._pieces = iter([stream[at : at + size] for at in range(0, len(stream), size)])
        self.sent = b""

    def recv(self, most: int) -> bytes:
        return next(self._pieces, b"")

    def sendall(self, data: bytes) -> None:
        self.sent += data


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_the_writer_takes_its_task_and_posts_in_any_pieces(
    store: Store, url: str, size: int
) -> None:
    posts = [[arrival(report(item=f"{m} {n}")) for n in range(3)] for m in range(3)]
    stream = writer.frame(writer.encode(writer.Task(url, 2)))
    stream += b"".join(writer.frame(writer.encode(each)) for each in posts)
    connection = Pieces(stream, size)

    writer.run(connection)  # type: ignore[arg-type]

    answered = [writer.decode_answers(each) for each in writer.Frames().feed(connection.sent)]
    assert all(len(each.receipts) <= 2 and each.seconds > 0 for each in answered)
    receipts = [receipt for each in answered for receipt in each.receipts]
    assert receipts == [Receipt(1, 0, position) for position in range(1, 10)]
    assert [each.item for each in store.reading.signals(after=0, limit=99)] == [
        post.reports[0].signal.item for group in posts for post in group
    ]


@pytest.mark.parametrize("stream", [b"", b"\x00", writer.frame(b"task")[:-1]])
def test_the_writer_ends_when_nobody_gives_it_a_whole_task(stream: bytes) -> None:
    connection = Pieces(stream, 1)

    writer.run(connection)  # type: ignore[arg-type]

    assert connection.sent == b""
