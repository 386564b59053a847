"""Pages about file products: the list, one file with its lineage, downloads and plots of known versions."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from eas.errors import RequestError
from eas.lightcurves import files as lightcurve_files
from eas.lightcurves.lightcurve import LightCurveError
from eas.model import StoredVersion
from eas.plain_text import time_text
from eas.taskdb.queries import file_list, folding, job_list, lineage, task_details
from eas.taskdb.queries.keyset import all_pages
from eas.web import lineage_picture
from eas.web.rendering import csv_response, next_address, wants_csv, with_query
from eas.web.site import site

HEADER = ("file", "file_id", "version", "size [B]", "sha256", "passed_qc", "made [UTC]", "task", "task_type", "job")
PICTURED = 40
"""Maximum number of tasks of each direction in the picture of the lineage."""

LARGEST = 200_000_000
"""Maximum size of a light curve file that is drawn [bytes]."""

ONE_AT_A_TIME = threading.Lock()
"""Serialises drawing, because a light curve of two years takes hundreds of MB while it is drawn."""


def files(request: Request) -> Response:
    """Answer with the list of versions, of one job or of all."""
    here = site(request)
    name = request.query_params.get("job") or None
    job_id = None if name is None else here.fetch(lambda c: job_list.find(c, name)).id
    if wants_csv(request):
        rows = all_pages(lambda after: here.fetch(lambda c: file_list.page(c, job_id=job_id, after=after, limit=1000)))
        return csv_response("files", HEADER, map(_csv, rows))
    page = here.fetch(lambda c: file_list.page(c, job_id=job_id, after=request.query_params.get("after")))
    return here.renderer.page(
        request, "files.html", title="Files", page=page, job_id=job_id, job_text=name or "",
        next=next_address(request, page.next), csv=with_query(request, format="csv", after=None),
    )  # fmt: skip


def _csv(row: Any) -> list[Any]:
    return [f"{row.working_directory}/{row.name}", row.product_id, row.id, row.size, row.sha256, bool(row.passed_qc),
            time_text(row.created_at), row.task_id, row.task_type, row.job_id]  # fmt: skip


def file(request: Request) -> Response:
    """Answer with the page of a file product."""
    here, product_id = site(request), int(request.path_params["product_id"])

    def read(connection: Connection) -> dict[str, Any]:
        product = lineage.product(connection, product_id)
        versions = file_list.of_product(connection, product_id)
        current = next((row for row in versions if row.id == product.current_version_id), None)
        maker_id = lineage.makers(connection, [product_id]).get(product_id)
        makers = task_details.labels(connection, [maker_id] if maker_id is not None else [])
        up = lineage.lineage(connection, product_id, "up", limit=PICTURED)
        down = lineage.lineage(connection, product_id, "down", limit=PICTURED)
        return {
            "product": product,
            "versions": versions,
            "current": current,
            "maker": {"row": makers[maker_id], "label": task_details.label(makers[maker_id])} if maker_id else None,
            "fold": folding.ephemeris(connection, current.id) if current is not None else None,
            "picture": lineage_picture.draw(up, down),
            "truncated": up.truncated or down.truncated,
            "readers": [task for task in down.edges if task.direction == "in" and task.product_id == product_id],
            "tasks": {
                key: {"row": row, "label": task_details.label(row)} for key, row in (up.tasks | down.tasks).items()
            },
        }

    found = here.fetch(read)
    if wants_csv(request):
        return csv_response(f"file_{product_id}", HEADER, map(_csv, found["versions"]))
    product = found["product"]
    return here.renderer.page(request, "file.html", title=f"File {product.name}",
                              name=f"{product.working_directory}/{product.name}",
                              is_curve=_is_drawn(found["current"]), **found)  # fmt: skip


def _is_drawn(version: Any) -> bool:
    """Return whether a version may be a light curve, by its semantic name or file name."""
    if version is None or version.size > LARGEST:
        return False
    return "lightcurve" in version.semantic or version.name.endswith((".lc", ".gz", ".lc.gz"))


def _version(request: Request) -> StoredVersion:
    version_id = int(request.path_params["version_id"])
    return site(request).fetch(lambda c: file_list.version(c, version_id))


def download(request: Request) -> Response:
    """Answer with the content of a version, verified against its checksum."""
    version = _version(request)
    folder = tempfile.TemporaryDirectory()
    try:
        path = site(request).app.store.local_copy(version, Path(folder.name))
    except BaseException:
        folder.cleanup()
        raise
    name = version.file_name.rpartition("/")[2]
    return FileResponse(path, media_type="application/octet-stream", filename=name,
                        background=BackgroundTask(folder.cleanup))  # fmt: skip


def plot(request: Request) -> Response:
    """Answer with the picture of a light curve over its full span."""
    return _picture(request, folded=False)


def folded_plot(request: Request) -> Response:
    """Answer with the picture of a light curve folded at its period, or at that of the address."""
    return _picture(request, folded=True)


def _picture(request: Request, *, folded: bool) -> Response:
    from reports.light_curve_picture import folded_picture, span_picture

    here, version = site(request), _version(request)
    if version.size > LARGEST:
        raise RequestError(f"{version.file_name} is too large to be drawn", hint="download it")
    version_id = int(request.path_params["version_id"])
    known = here.fetch(lambda c: folding.ephemeris(c, version_id)) if folded else None
    if folded and known is None:
        raise RequestError(f"no period of {version.file_name} is known", hint="`eas plot FILE --period DAYS` folds it")
    # A version never changes; a search may still find a period.
    headers = {"Cache-Control": "private, max-age=86400, immutable" if not folded else "private, max-age=60"}
    with ONE_AT_A_TIME, tempfile.TemporaryDirectory() as folder:
        try:
            curve = lightcurve_files.read(here.app.store.local_copy(version, Path(folder)), version.metadata)
        except LightCurveError as error:
            raise RequestError(f"{version.file_name} is no light curve: {error.what}", hint="download it") from error
        name = version.file_name
        content = folded_picture(curve, known, name) if known is not None else span_picture(curve, name)
    return Response(content, media_type="image/png", headers=headers)
