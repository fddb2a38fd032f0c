"""The usual pick: FastAPI, SQLAlchemy's ORM, one session and one commit per request.

On aiosqlite or asyncpg, as its URL says. Written the way the tutorials of FastAPI and SQLAlchemy do
it, with the same durability as ours (on SQLite WAL and synchronous=FULL, on PostgreSQL what the
server has by default). It does less than ours: keys are plain text, repeats are not recognised,
an item's state is simply the last signal's, there are no findings.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import DateTime, ForeignKey, Index, event, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DATABASE = os.environ["USUAL_DATABASE"]  # a URL of SQLAlchemy's
APIKEY = os.environ["USUAL_APIKEY"]  # stored at the first start

engine = create_async_engine(DATABASE, connect_args={"timeout": 60})
new_session = async_sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine.sync_engine, "connect")
def make_durable(connection: Any, _record: Any) -> None:
    if engine.dialect.name != "sqlite":
        return
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True)}


class Interface(Base):
    __tablename__ = "interfaces"

    id: Mapped[int] = mapped_column(primary_key=True)
    apikey: Mapped[str] = mapped_column(unique=True)


class Item(Base):
    __tablename__ = "items"

    order: Mapped[str] = mapped_column(primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    changed: Mapped[datetime]
    tracking: Mapped[str | None]
    shipping_option: Mapped[str | None]


class Signal(Base):
    __tablename__ = "signals"
    __table_args__ = (Index("signals_by_item", "order", "item"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    received: Mapped[datetime]
    interface_id: Mapped[int] = mapped_column(ForeignKey("interfaces.id"))
    order: Mapped[str]
    item: Mapped[str]
    type: Mapped[str]
    datetime: Mapped[datetime]
    body: Mapped[str]


class SignalIn(BaseModel):
    order: str = Field(min_length=1, max_length=128)
    item: str = Field(min_length=1, max_length=128)
    datetime: str = Field(max_length=40)


class Progress(SignalIn):
    type: Literal["ItemRegistered", "ItemProduce", "ItemProduced", "ItemPacked"]


class Shipped(SignalIn):
    type: Literal["ItemShipped"]
    tracking: str = Field(min_length=1, max_length=255)
    shipping_option: str = Field(min_length=1, max_length=255)


class ProgressPost(Progress):
    apikey: str


class ShippedPost(Shipped):
    apikey: str


class BundlePost(BaseModel):
    apikey: str
    items: list[Annotated[Progress | Shipped, Field(discriminator="type")]] = Field(max_length=1000)


class Accepted(BaseModel):
    accepted: int
    duplicates: int


Post = Annotated[ProgressPost | ShippedPost, Field(discriminator="type")] | BundlePost


async def get_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with new_session() as session:
        if await session.scalar(select(Interface)) is None:
            session.add(Interface(apikey=APIKEY))
            await session.commit()
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def apply(session: AsyncSession, signal: Progress | Shipped, happened: datetime) -> None:
    item = await session.get(Item, (signal.order, signal.item))
    if item is None:
        item = Item(order=signal.order, item=signal.item, state=signal.type, changed=happened)
        session.add(item)
    item.state = signal.type
    item.changed = happened
    if isinstance(signal, Shipped):
        item.tracking = signal.tracking
        item.shipping_option = signal.shipping_option


@app.post("/cloudsignal/2.0/status/")
async def post_status(post: Post, session: SessionDep) -> Accepted:
    interface = await session.scalar(select(Interface).where(Interface.apikey == post.apikey))
    if interface is None:
        raise HTTPException(401, "unknown key")
    signals = post.items if isinstance(post, BundlePost) else [post]
    rows = []
    for signal in signals:
        happened = datetime.strptime(signal.datetime, "%Y-%m-%d %H:%M:%S GMT").replace(tzinfo=UTC)
        await apply(session, signal, happened)
        rows.append(
            Signal(
                received=datetime.now(UTC),
                interface_id=interface.id,
                order=signal.order,
                item=signal.item,
                type=signal.type,
                datetime=happened,
                body=signal.model_dump_json(exclude={"apikey"}),
            )
        )
    session.add_all(rows)
    await session.commit()
    return Accepted(accepted=len(rows), duplicates=0)
