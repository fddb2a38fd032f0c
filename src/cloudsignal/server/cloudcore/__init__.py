"""How order owners read their orders: as Cloudprinter's CloudCore API 1.0 has it."""
