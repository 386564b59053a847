"""Splits and joins URLs of services, with the password as a separate secret."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from eas.errors import SettingsError

DOCUMENTATION = "https://docs.prefect.io/v3/concepts/blocks"
LOGOS = (
    "https://raw.githubusercontent.com/PrefectHQ/prefect/420d0d6a78bb6df1fc18bcf188fdad43c1d22ea9/assets/block-logos"
)
"""Location of the logos of Prefect's own block types; without network access the UI shows none."""


def split(url: str, what: str) -> URL:
    """Return the parts of a URL. Raises SettingsError without the URL in its message, as it may hold a password."""
    try:
        return make_url(url)
    except ArgumentError:
        raise SettingsError(
            f"the URL of the {what} is invalid", hint="percent-encode special characters, for example @ as %40"
        ) from None


def join(drivername: str, password: SecretStr | None, **parts: Any) -> SecretStr:
    """Return a URL of properly quoted parts."""
    plain = password.get_secret_value() if password is not None else None
    url = URL.create(drivername, password=plain, **parts)
    return SecretStr(url.render_as_string(hide_password=False))
