"""The one place that knows SQL: the log, the items folded from it, and who may speak.

Imports nothing by itself: the writer's process takes a small part of this, and starts the faster.
"""
