"""Units of time: instants and what lies between them are microseconds, counts and waits are by the second."""

from typing import Final

MINUTE_S: Final = 60
HOUR_S: Final = 60 * MINUTE_S
DAY_S: Final = 24 * HOUR_S

SECOND_US: Final = 1_000_000
MINUTE_US: Final = MINUTE_S * SECOND_US
HOUR_US: Final = HOUR_S * SECOND_US
DAY_US: Final = DAY_S * SECOND_US
