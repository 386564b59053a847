"""Secrets: created if they are missing, never shown, never changed."""

from __future__ import annotations

import base64
import secrets
from typing import Any
from urllib.parse import quote

from eas.errors import RequestError
from infra.deploy.client import FIELD_MANAGER, Cluster

Object = dict[str, Any]
MANAGED = "app.kubernetes.io/managed-by"
NAMES = ("mysql-auth", "rabbitmq-auth", "prefect-database", "prefect-auth", "eas-web-auth", "eas-settings")


async def ensure(cluster: Cluster, needed: set[str], queue: str) -> list[str]:
    """Create the missing Secrets of ``needed``; return their names.

    ``eas-settings`` is made of the passwords in the others; only its queue URL follows ``queue``
    (*sql* or *amqp*) later. Raises RequestError where one of the others is ours but lacks a password.
    """
    wanted = [name for name in NAMES[:-1] if name in needed]
    made = [name for name in wanted if await cluster.create_if_absent(_secret(name, _fresh(name)))]
    if "eas-settings" in needed and await _ensure_settings(cluster, queue):
        made.append("eas-settings")
    return made


async def _ensure_settings(cluster: Cluster, queue: str) -> bool:
    """Make ``eas-settings`` where it is absent, and return whether it was; one of the operator's own is left alone."""
    present = await cluster.get("Secret", "eas-settings")
    if present is not None and present["metadata"].get("labels", {}).get(MANAGED) != FIELD_MANAGER:
        return False
    urls = await _urls(cluster, queue)
    if present is None:
        return await cluster.create_if_absent(_secret("eas-settings", urls))
    await cluster.patch("Secret", "eas-settings", {"stringData": {"EAS_QUEUE_URL": urls["EAS_QUEUE_URL"]}})
    return False


def _fresh(name: str) -> dict[str, str]:
    password = secrets.token_urlsafe(24)
    if name == "mysql-auth":
        return {"password": password, "root-password": secrets.token_urlsafe(24)}
    if name == "prefect-database":
        return {"password": password, "url": f"postgresql+asyncpg://prefect:{password}@postgres:5432/prefect"}
    if name == "prefect-auth":
        return {"auth-string": f"eas:{password}"}
    return {"password": password}


async def _urls(cluster: Cluster, queue: str) -> dict[str, str]:
    """Return the URLs of the deployed services."""
    mysql, rabbitmq = [await _password(cluster, name) for name in ("mysql-auth", "rabbitmq-auth")]
    return {
        "EAS_DATABASE_URL": f"mysql+pymysql://eas:{quote(mysql, safe='')}@mysql:3306/eas",
        "EAS_QUEUE_URL": "sql:" if queue == "sql" else f"amqp://eas:{quote(rabbitmq, safe='')}@rabbitmq:5672/%2F",
    }


async def _password(cluster: Cluster, name: str) -> str:
    found = await cluster.get("Secret", name) or {}
    content = found.get("data") or {}
    plain = found.get("stringData") or {}
    if "password" in plain:
        return str(plain["password"])
    if "password" not in content:
        raise RequestError(f"the Secret {name} has no key `password`", hint="add it, or delete the Secret")
    return base64.b64decode(content["password"]).decode()


def _secret(name: str, content: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "eas", MANAGED: FIELD_MANAGER}},
        "type": "Opaque",
        "stringData": content,
    }
