"""Alerts of stalled items: raised and cleared from what is counted, and told to the operator."""
