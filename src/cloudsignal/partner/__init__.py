"""Who reports: what runs at the print partner."""
