"""The child process that runs attempts: ``python -m eas.worker.child FD PARENT``.

The module imports little, so that a child starts quickly; the module of a task type is imported at its first
attempt.
"""

from __future__ import annotations

import os
import socket
import sys

from eas.worker.sandbox import exit_with_parent


def main(fd: int, parent: int) -> None:
    """Serve requests of the process ``parent``, received over the socket ``fd``, until that process ends."""
    exit_with_parent(parent)
    from eas.worker.child_ipc import Channel
    from eas.worker.child_runner import ChildRunner

    channel = Channel(socket.socket(fileno=fd))
    options = channel.next()
    if options is not None:
        ChildRunner(channel, options).serve()
    os._exit(0)  # no thread or exit handler of a task's code may keep this process


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
