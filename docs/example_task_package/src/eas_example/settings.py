"""What ``sigma_clip`` reads and returns: chains are checked against it where the task's own code is not needed."""

from eas.task_api import MetadataKey, Number

THRESHOLD = Number("threshold", default=5, unit="standard deviations", low=0, above=True, meaning="of an outlier")
SETTINGS = [THRESHOLD]
METADATA = [MetadataKey("clipped", "", "samples that were flagged", "whole number")]
