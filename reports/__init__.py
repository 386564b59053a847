"""Reports: rows to frames to tables, pictures and CSV; pure functions."""
