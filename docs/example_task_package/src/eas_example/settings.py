"""Settings and output metadata of ``sigma_clip``: EAS checks chains against them without importing the task's code."""

from eas.task_api import MetadataKey, Number

THRESHOLD = Number("threshold", default=5, unit="standard deviations", low=0, above=True, meaning="of an outlier")
SETTINGS = [THRESHOLD]
METADATA = [MetadataKey("clipped", "", "samples that were flagged", "whole number")]
