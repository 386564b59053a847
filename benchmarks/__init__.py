"""Benchmarks. Most compare EAS to a reference within one run: such ratios vary less than times on a noisy machine."""

ALL = (
    "import_time",
    "start_up",
    "hop_latency",
    "end_to_end",
    "queue_throughput",
    "flow_overhead",
    "expansion",
    "large_jobs",
    "campaign",
    "search_speed",
)
"""Benchmarks that ``make bench`` runs, in this order."""
