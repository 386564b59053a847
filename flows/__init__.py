"""Prefect flows: thin; parameters in, one verb of the domain, artifacts out."""
