"""Generate the page of settings from their declarations."""

from __future__ import annotations

from typing import get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from docs.generate.markdown import NOTE
from eas.settings import SAVED, VARIABLES, Settings

INTRODUCTION = """\
Each setting has an environment variable. Order of precedence: command line, environment, file `settings.json` in
`EAS_HOME`, default. `eas db init`, `eas queue init` and `eas store init` write the settings marked *saved* to this
file, which only its owner can read. `eas doctor` prints every setting with its source."""
KINDS = {"SecretStr": "text (secret)", "Path": "path", "str": "text", "float": "number", "int": "integer",
         "bool": "`true` or `false`"}  # fmt: skip
DEFAULTS = {
    "home": "`eas-data` in the working directory",
    "database_url": "`eas.sqlite` in `EAS_HOME`",
    "data_dir": "`EAS_HOME`",
    "store_url": "`store` in `EAS_DATA_DIR`",
}
"""Defaults that depend on other settings."""
BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


def page() -> str:
    """Return the page with all settings and environment variables."""
    lines = [
        "# Settings",
        "",
        NOTE,
        "",
        INTRODUCTION,
        "",
        "| variable | value | default | meaning |",
        "|---|---|---|---|",
        *(_setting(name, field) for name, field in Settings.model_fields.items()),
        "",
        "Other environment variables:",
        "",
        "| variable | meaning |",
        "|---|---|",
        *(f"| `{name}` | {meaning} |" for name, meaning in sorted(VARIABLES.items())),
        "",
        "`PREFECT_API_URL` is the URL of the Prefect server. If it is not set, `eas run` starts a local server",
        "(`eas server`); see [With a Prefect server](../how_to/prefect.md).",
    ]
    return "\n".join(lines) + "\n"


def _setting(name: str, field: FieldInfo) -> str:
    value = KINDS[_type_of(field).__name__]
    for bound in field.metadata:
        value += "".join(f", {text.format(getattr(bound, key))}" for key, text in BOUNDS.items() if hasattr(bound, key))
    default = field.default
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    shown = DEFAULTS.get(name) or (
        f"`{str(default).lower() if isinstance(default, bool) else default}`" if default else "empty"
    )
    meaning = f"{field.description}{' *Saved.*' if name in SAVED else ''}"
    return f"| `EAS_{name.upper()}` | {value} | {shown} | {meaning} |"


def _type_of(field: FieldInfo) -> type:
    """Return the type of a setting, without None."""
    kinds = [each for each in get_args(field.annotation) or (field.annotation,) if each is not type(None)]
    assert isinstance(kinds[0], type)
    return kinds[0]
