"""A fleet of print partners that are not there: their signals, and what a server made of them."""
