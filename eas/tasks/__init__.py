"""Task types, each with its QC."""
