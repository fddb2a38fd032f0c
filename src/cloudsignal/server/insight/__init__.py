"""What the log says of print partners: how long, how punctual, how well reported. Formulas only.

Everything here follows from its arguments: no input or output, no clock, no chance. What each figure
means stands in docs/insight.md.
"""
