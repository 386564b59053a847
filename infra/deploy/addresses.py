"""Addresses and logins of the web interfaces of a deployment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple


class Interface(NamedTuple):
    """A web interface: its title, its port, and the Secret and the key that hold its password."""

    title: str
    port: int
    secret: str
    key: str
    login: str


SERVICES: Mapping[str, Interface] = {
    "prefect-server": Interface("Prefect", 4200, "prefect-auth", "auth-string", "what it asks for"),
    "eas-web": Interface("eas web", 4280, "eas-web-auth", "password", "user name eas, password"),
}
"""Service name to web interface."""
WEB_URL = f"http://127.0.0.1:{SERVICES['eas-web'].port}"
"""URL of `eas web` while its port is forwarded to this machine."""


def lines(namespace: str, deployed: Collection[str]) -> tuple[str, ...]:
    """Return two lines for each deployed Service with a web interface: its address, and the source of its password."""
    found: list[str] = []
    for name, each in SERVICES.items():
        if name in deployed:
            forward = f"kubectl -n {namespace} port-forward service/{name} {each.port}"
            template = f'{{{{index .data "{each.key}" | base64decode}}}}'
            secret = f"kubectl -n {namespace} get secret {each.secret} -o go-template='{template}'"
            found += [f"{each.title}: {forward}, then http://127.0.0.1:{each.port}", f"  {each.login}: {secret}"]
    return tuple(found)
