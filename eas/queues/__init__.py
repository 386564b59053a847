"""The job queue: how workers find queued attempts."""

from eas.queues.opening import open_queue

__all__ = ["open_queue"]
