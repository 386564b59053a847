"""What operators ask for: one verb a module."""
