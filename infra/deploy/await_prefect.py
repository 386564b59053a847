"""``python -m infra.deploy.await_prefect SECONDS``: wait until Prefect's API answers, at most for this time.

A flow run that starts while the API is unavailable would crash at its first request, because Prefect's client
retries requests only after one has succeeded. Imports only the standard library.
"""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request

POLL_INTERVAL = 2.0
"""Time between two attempts [s]."""


def is_healthy(url: str) -> bool:
    """Whether the API's health check answers."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=30.0) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except (OSError, ValueError):
        return False


def main() -> int:
    """Wait, then return 0: if the API is still unavailable, the flow run reports it."""
    url, seconds = os.environ.get("PREFECT_API_URL", ""), float(sys.argv[1])
    deadline = time.monotonic() + seconds
    while url and not is_healthy(url) and time.monotonic() + POLL_INTERVAL < deadline:
        time.sleep(POLL_INTERVAL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
