"""Addresses of the pages of ``eas web``: one function for each page, used by all links."""

from __future__ import annotations

from urllib.parse import quote, urlencode


def jobs() -> str:
    """Return the address of the list of all jobs."""
    return "/jobs"


def job(job_id: int) -> str:
    """Return the address of a job's page."""
    return f"/jobs/{int(job_id)}"


def job_part(job_id: int, part: str) -> str:
    """Return the address of one view of a job: ``tree``, ``chain``, ``timeline``, ``errors``, ``pass-fail``."""
    return f"/jobs/{int(job_id)}/{quote(part, safe='')}"


def tasks(**filters: str | int | float) -> str:
    """Return the address of the list of tasks with filters, such as ``job=3, state="failed"``."""
    return _with_query("/tasks", filters)


def task(task_id: int) -> str:
    """Return the address of a task's page."""
    return f"/tasks/{int(task_id)}"


def files(**filters: str | int | float) -> str:
    """Return the address of the list of file products."""
    return _with_query("/files", filters)


def file(product_id: int) -> str:
    """Return the address of a file product's page."""
    return f"/files/{int(product_id)}"


def download(version_id: int) -> str:
    """Return the address of the content of one version of a file product."""
    return f"/versions/{int(version_id)}/download"


def plot(version_id: int) -> str:
    """Return the address of the picture of a light curve."""
    return f"/versions/{int(version_id)}/plot.png"


def folded_plot(version_id: int) -> str:
    """Return the address of the picture of a light curve that is folded at its period."""
    return f"/versions/{int(version_id)}/folded.png"


def logs(**filters: str | int | float) -> str:
    """Return the address of the log, with filters such as ``job=3, level="warning"``."""
    return _with_query("/logs", filters)


def workers() -> str:
    """Return the address of the list of workers."""
    return "/workers"


def queues() -> str:
    """Return the address of the queues."""
    return "/queues"


def timings(**filters: str | int | float) -> str:
    """Return the address of the timings of attempts."""
    return _with_query("/timings", filters)


def pass_fail(**filters: str | int | float) -> str:
    """Return the address of the outcomes of searches."""
    return _with_query("/pass-fail", filters)


def link(web_url: str, address: str) -> str:
    """Return the full URL of an address, or an empty text where no ``EAS_WEB_URL`` is set."""
    return f"{web_url.rstrip('/')}{address}" if web_url else ""


def _with_query(path: str, filters: dict[str, str | int | float]) -> str:
    return f"{path}?{urlencode(filters)}" if filters else path
