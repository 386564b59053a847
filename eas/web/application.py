"""The ASGI application: routes, error handlers, static files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from eas import web_addresses
from eas.app import App
from eas.errors import EASError, RequestError, ServiceError, UnknownFileError, UnknownJobError, UnknownTaskError
from eas.web import file_pages, job_pages, report_pages, task_pages
from eas.web.security import HEALTH, Access, AccessMiddleware
from eas.web.site import Site, site


class _Id(IntegerConvertor):
    """An id in an address, limited to the range of a database column."""

    regex = "[0-9]{1,18}"


register_url_convertor("id", _Id())


async def _health(_: Request) -> Response:
    """Answer in the event loop, so that requests waiting for the task database do not delay probes."""
    return Response("ok\n", media_type="text/plain")


NOT_FOUND_ERRORS = (UnknownFileError, UnknownJobError, UnknownTaskError)

ROUTES = [
    Route("/", lambda request: RedirectResponse(web_addresses.jobs())),
    Route(HEALTH, _health),
    Route("/search", report_pages.search),
    Route("/jobs", job_pages.jobs),
    Route("/jobs/{job_id:id}", job_pages.job),
    Route("/jobs/{job_id:id}/chain", job_pages.chain),
    Route("/jobs/{job_id:id}/errors", job_pages.errors),
    Route("/jobs/{job_id:id}/timeline", job_pages.timeline),
    Route("/tasks", task_pages.tasks),
    Route("/tasks/{task_id:id}", task_pages.task),
    Route("/tasks/{task_id:id}/log", task_pages.task_log),
    Route("/tasks/{task_id:id}/children", job_pages.tree_level),
    Route("/files", file_pages.files),
    Route("/files/{product_id:id}", file_pages.file),
    Route("/versions/{version_id:id}/download", file_pages.download),
    Route("/versions/{version_id:id}/plot.png", file_pages.plot),
    Route("/versions/{version_id:id}/folded.png", file_pages.folded_plot),
    Route("/logs", report_pages.log),
    Route("/workers", report_pages.workers),
    Route("/queues", report_pages.queues),
    Route("/timings", report_pages.timings),
    Route("/pass-fail", task_pages.pass_fail),
]


def create(app: App, access: Access) -> AccessMiddleware:
    """Return the application; it reads from ``app``, which the caller closes afterwards."""
    here = Site(app)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        here.close()

    static = Path(str(files("eas.web").joinpath("static")))
    routes = [*ROUTES, Mount("/static", StaticFiles(directory=static))]
    handlers = {EASError: _error_page, HTTPException: _not_found}
    made = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)  # type: ignore[arg-type]
    made.state.site = here
    return AccessMiddleware(made, access)


def _error_page(request: Request, error: EASError) -> Response:
    """Return the error page with message and hint."""
    status = 404 if isinstance(error, NOT_FOUND_ERRORS) else 503 if isinstance(error, ServiceError) else 500
    if status == 500 and isinstance(error, RequestError):
        status = 400
    return site(request).renderer.page(request, "error.html", title="Not possible", status=status, what=error.what,
                                       hint=error.hint)  # fmt: skip


def _not_found(request: Request, error: HTTPException) -> Response:
    what, hint = f"{request.url.path}: {error.detail}", "start from the list of jobs"
    values = {"title": str(error.detail), "status": error.status_code, "what": what, "hint": hint}
    return site(request).renderer.page(request, "error.html", **values)  # type: ignore[arg-type]
