"""What is posted: the lives of print items, many interleaved, every signal unique.

Time is cut into slots, one signal each. Five slots make a tick: in it one new item is registered,
and the items `WINDOW`, 2 x `WINDOW`, … before it make their second, third, fourth and fifth step.
So once the first items have shipped, every stretch of the stream has the same mix, however short
it is, and consecutive signals touch far apart places of any index on order and item. Each step takes
the items of a window in another order than the step before: a plant works on what came in together
at about the same time, but not in the order in which it came.

`posts.lua` tells wrk the same; change both together.
"""

import json
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

TYPES = ("ItemRegistered", "ItemProduce", "ItemProduced", "ItemPacked", "ItemShipped")
# Ticks between two steps of an item: 4,000 items are on their way at any time. Where several
# generators take the ticks in turn, their number divides it: so all steps of an item come from one.
WINDOW = 1000
ORDERS = (1, 387, 549, 721, 903)  # per step; having no factor with WINDOW, each reaches all of it

# Partners report within minutes: the first step is dated half an hour ago, each next one five
# minutes later, spread a little. So nothing is in the future, late or out of order.
OLDEST_S, STEP_S, SPREAD_S = 1800, 300, 240

# From here on all five steps happen in each tick. The slots before it that have no item yet
# are skipped: RAMP_SLOTS slots hold RAMP_SIGNALS signals.
RAMP_SLOTS = 4 * WINDOW * len(TYPES)
RAMP_SIGNALS = WINDOW * (4 + 3 + 2 + 1)


def first_item_now() -> int:
    """Every run of the benchmark has its own million of item numbers."""
    return int(time.time()) % 999_000 * 1_000_000


# An item asks five times, within 4 * WINDOW ticks.
@lru_cache(maxsize=5 * WINDOW)
def order_id(number: int) -> str:
    """Twelve random-looking digits, another set for each number: a three-round Feistel network."""
    left, right = number // 1_000_000 % 1_000_000, number % 1_000_000
    left = (left + (right * right + 104729) % 999983 * 7919) % 1_000_000
    right = (right + (left * left + 224737) % 999983 * 6997) % 1_000_000
    left = (left + (right * right + 350377) % 999983 * 5531) % 1_000_000
    return f"{left:06}{right:06}"


@lru_cache(maxsize=2 * OLDEST_S)
def datetime_text(instant_s: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S GMT", time.gmtime(instant_s))


def signal(first_item: int, slot: int, now_s: int) -> dict[str, str] | None:
    """The signal of a slot; None in the ramp, where its item does not exist yet."""
    tick, step = divmod(slot, len(TYPES))
    number = tick - step * WINDOW
    if number < 0:
        return None
    window, place = divmod(number, WINDOW)
    item = first_item + window * WINDOW + place * ORDERS[step] % WINDOW
    order = order_id(item)
    instant_s = now_s - OLDEST_S + step * STEP_S + item % SPREAD_S
    return step_of(step, order, f"{order}-1", instant_s)


def step_of(step: int, order: str, item: str, instant_s: int) -> dict[str, str]:
    found = {
        "type": TYPES[step],
        "order": order,
        "item": item,
        "datetime": datetime_text(instant_s),
    }
    if step == len(TYPES) - 1:
        found |= {"tracking": f"1Z{order}", "shipping_option": "ups_ground"}
    return found


def order_of(number: int, size: int, now_s: int) -> list[dict[str, str]]:
    """All steps of all items of one order, so many signals, one step of each item after the other."""
    order = order_id(number)
    return [
        step_of(step, order, f"{order}-{item}", now_s - OLDEST_S + step * STEP_S)
        for step in range(len(TYPES))
        for item in range(size // len(TYPES))
    ]


def first_step(number: int) -> dict[str, str]:
    """The first signal of an item of that number."""
    order = order_id(number)
    return step_of(0, order, f"{order}-1", int(time.time()) - OLDEST_S)


def single(apikey: str, first_item: int, slot: int) -> bytes:
    return single_of(apikey, signal(first_item, slot, int(time.time())) or {})


def single_of(apikey: str, report: dict[str, str]) -> bytes:
    return encoded({"apikey": apikey} | report)


def bundle(apikey: str, reports: list[dict[str, str]]) -> bytes:
    return encoded({"apikey": apikey, "items": reports})


def encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def bundles(
    apikey: str, first_item: int, slots: range, size: int = 1000
) -> Iterator[tuple[int, bytes]]:
    """The signals of the slots as posts of at most `size`, each with how many it holds."""
    for start in range(slots.start, slots.stop, size):
        now_s = int(time.time())
        stop = min(start + size, slots.stop)
        found = [signal(first_item, slot, now_s) for slot in range(start, stop)]
        items = [one for one in found if one is not None]
        yield len(items), bundle(apikey, items)
