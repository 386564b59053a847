"""Rendering of templates and CSV, with HTML and control characters escaped."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from eas import web_addresses
from eas.errors import RequestError
from eas.plain_text import duration_text, one_line, size_text, time_text, value_text, visible, without_formula

NAVIGATION = (
    ("Jobs", web_addresses.jobs()), ("Tasks", web_addresses.tasks()), ("Files", web_addresses.files()),
    ("Log", web_addresses.logs()), ("Workers", web_addresses.workers()), ("Queues", web_addresses.queues()),
    ("Timings", web_addresses.timings()), ("Pass/fail", web_addresses.pass_fail()),
)  # fmt: skip
LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}


def _finalize(value: Any) -> Any:
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _json_text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else value_text(value) if isinstance(value, float) else json.dumps(value)


def environment() -> Environment:
    """Return the environment of the templates, which are part of the package."""
    folder = files("eas.web").joinpath("templates")
    texts = {each.name: each.read_text(encoding="utf-8") for each in folder.iterdir() if each.name.endswith(".html")}
    made = Environment(
        loader=DictLoader(texts), autoescape=True, undefined=StrictUndefined, finalize=_finalize, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters.update(time=time_text, duration=duration_text, size=size_text, value=value_text, one_line=one_line,
                        json=_json_text, short=_short)  # fmt: skip
    made.globals.update(to=web_addresses, navigation=NAVIGATION, levels=LEVELS)
    return made


class Renderer:
    """Renders pages from templates."""

    def __init__(self) -> None:
        self.environment = environment()

    def page(self, request: Request, template: str, *, title: str, status: int = 200, **values: Any) -> Response:
        """Return a page; it refreshes every few seconds if the value ``moving`` is true."""
        known = {"moving": False, "request": request, "title": title, "here": request.url.path, "query": ""}
        text = self.environment.get_template(template).render(known | values)
        return HTMLResponse(text, status)

    def part(self, template: str, **values: Any) -> Response:
        """Return a part of a page, without head and navigation."""
        return HTMLResponse(self.environment.get_template(template).render(values))


def number(request: Request, name: str) -> int | None:
    """Return a whole number among the query parameters. Raises RequestError for anything else."""
    text = request.query_params.get(name, "")
    if not text:
        return None
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    raise RequestError(f"{name}={text[:40]!r} is no number", hint="correct the address")


def next_address(request: Request, after: str | None) -> str:
    """Return the address of the next page of a list; empty where there is none."""
    return with_query(request, after=after) if after is not None else ""


def with_query(request: Request, **changes: str | None) -> str:
    """Return the address of a request with other query parameters; None removes one."""
    kept = [(key, value) for key, value in request.query_params.multi_items() if key not in changes]
    kept += [(key, value) for key, value in changes.items() if value is not None]
    return f"{request.url.path}?{urlencode(kept)}" if kept else request.url.path


def wants_csv(request: Request) -> bool:
    """Return whether a request asks for the table of a page as CSV."""
    return request.query_params.get("format") == "csv"


def csv_response(name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """Return a table as a CSV download, written while it is read."""

    def lines() -> Iterator[str]:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([cell(each) for each in row])
            if buffer.tell() > 50_000:
                yield buffer.getvalue()
                buffer.seek(0)
                buffer.truncate()
        yield buffer.getvalue()

    # A leading mark lets spreadsheets recognise UTF-8.
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(_marked(lines()), media_type="text/csv; charset=utf-8", headers=headers)


def _marked(lines: Iterator[str]) -> Iterator[bytes]:
    first = "\ufeff"
    for line in lines:
        yield (first + line).encode()
        first = ""


def cell(value: Any) -> Any:
    """Return a CSV cell: a text that a spreadsheet would take for a formula begins with an apostrophe."""
    if isinstance(value, Mapping | list | tuple):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        return without_formula(visible(value))
    return value
