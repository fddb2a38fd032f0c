"""The panel: pages for people, in a browser."""
