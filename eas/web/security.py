"""Access control and security headers: password, reverse proxy, host names."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

USER = "eas"
HEALTH = "/health"
"""Path for probes, which use a pod's address and no password; the answer contains no data."""
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SAFE_METHODS = frozenset({"GET", "HEAD"})
LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


@dataclass(frozen=True)
class Access:
    """Access rules.

    Attributes
    ----------
    password:
        Password for HTTP basic authentication, with the user name ``eas``; empty for none.
    user_header:
        Header by which a reverse proxy names the user: requests without it are refused; empty: none.
    hosts:
        Allowed host names; empty for any. Without password and proxy, this prevents DNS rebinding: pages of other
        sites could otherwise read the application through a host name that resolves to it.
    """

    password: str = ""
    user_header: str = ""
    hosts: frozenset[str] = LOCAL


class AccessMiddleware:
    """ASGI middleware: rejects unauthorised requests, and sets security headers on every response."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def is_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        if scope["path"] == HEALTH and scope["method"] in SAFE_METHODS:
            refusal = None
        await (refusal or self.app)(scope, receive, is_protected)

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        if method not in SAFE_METHODS:
            return PlainTextResponse("this application is read-only\n", 405, {"Allow": "GET, HEAD"})
        access = self.access
        if access.hosts and _host(headers.get("host", "")) not in access.hosts:
            return PlainTextResponse("unknown host name: set EAS_WEB_URL\n", 421)
        if access.user_header and not headers.get(access.user_header):
            return PlainTextResponse("the reverse proxy has not named a user\n", 401)
        if access.password and not _is_authorised(headers.get("authorization", ""), access.password):
            challenge = {"WWW-Authenticate": 'Basic realm="EAS", charset="UTF-8"'}
            return PlainTextResponse("user name and password are needed\n", 401, challenge)
        return None


def allowed_hosts(listening: str, web_url_host: str, *, guarded: bool) -> frozenset[str]:
    """Return the names under which the application may be addressed; none means any.

    ``is_protected``: whether a password or a reverse proxy protects the application.
    """
    if guarded or listening not in LOCAL:
        return frozenset()
    return LOCAL | _names([web_url_host])


def _names(hosts: Iterable[str]) -> frozenset[str]:
    return frozenset(host.lower() for host in hosts if host)


def _host(header: str) -> str:
    name, colon, port = header.rpartition(":")
    return (name if colon and port.isdecimal() else header).lower()


def _is_authorised(header: str, password: str) -> bool:
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return secrets.compare_digest(given, f"{USER}:{password}".encode())
