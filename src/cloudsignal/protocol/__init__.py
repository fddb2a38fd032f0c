"""What is said: the CloudSignal API 2.0 as data and pure functions.

No I/O, no clock, no randomness: both sides of the wire share this package, and time is an argument.
"""
