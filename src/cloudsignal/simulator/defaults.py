"""What a simulation is like unless it is said otherwise, and its limits. Light to import, for flags."""

from typing import Final

PARTNERS: Final = 5
PARTNERS_MAX: Final = 1000
ITEMS: Final = 1000
ITEMS_MAX: Final = 10_000_000
ITEMS_PER_DAY: Final = 10_000
SEED_MAX: Final = (1 << 32) - 1
CONNECTIONS: Final = 32
CONNECTIONS_MAX: Final = 1000
START: Final = "2026-01-05"
"""When the first day begins: a Monday, always the same, so that a plan is too."""
LIVE_START: Final = "10-days-ago"
LIVE_ITEMS_PER_DAY: Final = 600
"""The same of a plan that ends with now: so much that there is something to see, and little enough for some minutes."""
