"""TLS to RabbitMQ: certificates named in the URL, as RabbitMQ's own URI parameters name them."""

from __future__ import annotations

import ssl
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pika

from eas.errors import SettingsError

PARAMETERS = ("cacertfile", "certfile", "keyfile", "server_name_indication")
"""``amqps://host/?cacertfile=/etc/eas/ca.pem&certfile=...&keyfile=...``."""


def without_tls(url: str) -> tuple[str, pika.SSLOptions | None]:
    """Return ``url`` without its TLS parameters, and what they ask for; None for a URL without TLS.

    The broker's certificate and name are always verified: by the given CA, else by the system's.
    Raises SettingsError where a file cannot be used.
    """
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    given = {name: value for name, value in pairs if name in PARAMETERS}
    if parts.scheme != "amqps":
        if given:
            raise SettingsError(f"the job queue's URL gives {min(given)} without TLS", hint="begin it with amqps://")
        return url, None
    context = _context(given)
    plain = urlunsplit(parts._replace(query=urlencode([pair for pair in pairs if pair[0] not in PARAMETERS])))
    return plain, pika.SSLOptions(context, given.get("server_name_indication") or parts.hostname)


def _context(given: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=given.get("cacertfile"))
        if "certfile" in given:
            context.load_cert_chain(given["certfile"], given.get("keyfile"))
    except (OSError, ValueError) as error:
        names = ", ".join(name for name in PARAMETERS[:3] if name in given)
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"the job queue's certificates ({names}) cannot be used: {reason}",
            hint="give the paths of PEM files that this user may read",
        ) from None
    return context
