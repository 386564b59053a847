"""Reports: pure functions that convert database rows to data frames, tables, pictures and CSV."""
