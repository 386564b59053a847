"""The parameter ``chain`` of ``run-chain``: a chain as an object or as JSON text, a path, or a URL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from eas.app import App
from eas.chains.grammar import MAX_SIZE, Chain, load_chain, parse_chain
from eas.errors import RequestError
from eas.settings import safe_url

SOURCE = "the parameter chain"
HINT = "give a task chain as JSON, the path of a file where the flow runs, or a URL that fsspec can read"


def read(value: Mapping[str, Any] | str | None, app: App) -> Chain:
    """Return the chain that a parameter contains or refers to. Raises RequestError and ChainError."""
    if isinstance(value, Mapping):
        return parse_chain(json.dumps(value), SOURCE, app.registry)
    text = (value or "").strip()
    if not text:
        raise RequestError("neither a chain nor a job id was given", hint="give one of the two parameters")
    if text.startswith("{"):
        return parse_chain(text, SOURCE, app.registry)
    if "://" in text:
        return parse_chain(_download(text, app), safe_url(text), app.registry)
    return load_chain(Path(text), app.registry)


def title(value: Any) -> str:
    """Return a short name of the chain in a parameter, for the name of the flow run."""
    document = value if isinstance(value, Mapping) else None
    text = str(value or "").strip()
    if document is None and text.startswith("{"):
        try:
            document = json.loads(text)
        except ValueError:
            document = {}
    if isinstance(document, Mapping):
        name = document.get("job_name")
        return name if isinstance(name, str) and name else "chain"
    return PurePosixPath(text).stem or "chain"


def _download(url: str, app: App) -> str:
    """Return the text at a URL; the options of the file store apply to URLs inside it."""
    import fsspec

    settings = app.settings
    inside = bool(settings.store_url) and url.startswith(settings.store_url.rstrip("/") + "/")
    secret = settings.store_options.get_secret_value() if inside else ""
    try:
        with fsspec.open(url, "rb", **(json.loads(secret) if secret else {})) as file:
            content = file.read(MAX_SIZE + 1)
    except Exception as error:  # file systems of fsspec raise their own types of errors
        what = f"{safe_url(url)} cannot be read: {type(error).__name__}"
        raise RequestError(what, hint=HINT) from None
    if len(content) > MAX_SIZE:
        raise RequestError(f"{safe_url(url)} is larger than {MAX_SIZE} bytes", hint="use loops instead of long lists")
    try:
        return str(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise RequestError(f"{safe_url(url)} is not UTF-8 text", hint=HINT) from None
