"""The settings of ``sigma_clip``: chains are checked against them where the task's own code is not needed."""

from eas.task_api import Number

THRESHOLD = Number("threshold", default=5, unit="standard deviations", low=0, above=True, meaning="of an outlier")
SETTINGS = [THRESHOLD]
