"""Task types, each with its QC beside it."""
