"""Speed, measured as ratios inside one run: the machines are noisy, ratios less so."""

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
"""What ``make bench`` runs, in this order."""
