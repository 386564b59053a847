"""Settings, in order of precedence: command line, environment, saved settings file, default."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from eas.errors import SettingsError

SETTINGS_FILE = "settings.json"

VARIABLES = {
    "EAS_DB_PASSWD": "Password of the user that `eas db init --db-user` names; without it, the command asks.",
    "EAS_MQ_PASSWD": "Password of the user that `eas queue init --mq-user` names; without it, the command asks.",
    "EAS_WEB_PASSWORD": "Password that browsers must give to `eas web`; empty: none.",
    "EAS_HOST": "Name under which a worker registers its host; default: the host's name.",
    "EAS_PSLS_DATA": "Folder of the data tables of psls; default: `share/eas/psls` in the Python environment.",
    "EAS_CSV_FORMULA_PREFIX": "`false`, `no`, `off` or `0`: texts in CSV files stay as they are, without the apostrophe"
    " that keeps spreadsheets from running them as formulas; default: `true`.",
    "EAS_MOST_WORKERS": "Kubernetes: maximum number of workers of each type that the scaler starts; default: 8.",
    "EAS_METRICS_PORT": "Kubernetes: port for the supervisor's metrics; empty: no metrics.",
}
"""Environment variables for users other than settings, with their meaning."""

SAVED = ("database_url", "queue_url", "data_dir", "store_url", "store_options")
"""Settings that ``save`` writes."""


def home_directory() -> Path:
    """Return ``EAS_HOME``, or the folder ``eas-data`` in the working directory."""
    return Path(os.environ.get("EAS_HOME") or "eas-data").absolute()


def _saved(path: Path) -> dict[str, Any]:
    """Return the saved settings. Raises SettingsError where the file is no JSON object."""
    hint = "correct or remove it; `eas db init` writes it again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"the saved settings {path} cannot be read: {error.strerror}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SettingsError(f"the saved settings file {path} is not valid JSON: {what}", hint=hint) from None
    if not isinstance(content, dict):
        raise SettingsError(f"the saved settings file {path} holds no JSON object", hint=hint)
    return content


class Settings(BaseSettings):
    """Locations of database, queue, file store and folders, and time limits.

    The URLs may hold passwords, so they are SecretStr: print them only with ``safe_url``.
    """

    model_config = SettingsConfigDict(env_prefix="EAS_", extra="ignore", frozen=True, env_ignore_empty=True)

    home: Path = Field(default_factory=home_directory, description="Folder of the saved settings file.")
    database_url: SecretStr = Field(default=SecretStr(""), description="SQLAlchemy URL of the task database.")
    queue_url: SecretStr = Field(default=SecretStr("sql:"), description="`sql:` or `amqp://...`.")
    data_dir: Path | None = Field(default=None, description="File store, input directory and reports.")
    store_url: str = Field(default="", description="File store, if not in `data_dir`: a path or any fsspec URL.")
    store_options: SecretStr = Field(default=SecretStr(""), description="Options for fsspec: a JSON object.")
    lease: float = Field(
        default=300.0, ge=2.0, allow_inf_nan=False, description="Heartbeat age [s] beyond which an attempt is stalled."
    )
    max_stalls: int = Field(default=5, ge=0, description="Number of stalled attempts of a task that are retried.")
    web_url: str = Field(default="", description="Address of `eas web`, for links to its pages; empty: no links.")
    server_idle: float = Field(
        default=600.0,
        ge=0.0,
        allow_inf_nan=False,
        description="Time without use after which the Prefect server that `eas run` started stops [s].",
    )
    memory_limits: bool = Field(default=True, description="Hold task code to its worker type's memory.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources by precedence: arguments, environment, saved file."""
        saved = InitSettingsSource(settings_cls, _saved(home_directory() / SETTINGS_FILE))
        return init_settings, env_settings, saved

    @property
    def data_directory(self) -> Path:
        """The folder that holds the file store, external input and reports."""
        return (self.data_dir or self.home).absolute()

    @property
    def store_location(self) -> str:
        """The root of the file store: a path or an fsspec URL."""
        return self.store_url or str(self.data_directory / "store")

    @property
    def scratch_directory(self) -> Path:
        """Folder for copies of files that are transferred to or from a remote file store."""
        return self.data_directory / "scratch"

    @property
    def input_directory(self) -> Path:
        """Folder of external data that no task made."""
        return self.data_directory / "input"

    @property
    def reports_directory(self) -> Path:
        """Where reports write their CSV files and pictures."""
        return self.data_directory / "reports"

    def environment(self) -> dict[str, str]:
        """Return the environment that gives a child process these settings."""
        return {
            "EAS_HOME": str(self.home),
            "EAS_DATABASE_URL": self.database(),
            "EAS_QUEUE_URL": self.queue_url.get_secret_value(),
            "EAS_DATA_DIR": str(self.data_directory),
            # Never empty, because the saved file takes precedence over an empty variable.
            "EAS_STORE_URL": self.store_location,
            "EAS_STORE_OPTIONS": self.store_options.get_secret_value() or "{}",
            "EAS_LEASE": str(self.lease),
            "EAS_MAX_STALLS": str(self.max_stalls),
            "EAS_SERVER_IDLE": str(self.server_idle),
            "EAS_MEMORY_LIMITS": str(self.memory_limits),
            # Empty means that there is no link to make.
            "EAS_WEB_URL": self.web_url,
        }

    def database(self) -> str:
        """Return the task database's URL; the embedded default is a sqlite file in ``home``."""
        return self.database_url.get_secret_value() or f"sqlite:///{self.home / 'eas.sqlite'}"


def load(**overrides: Any) -> Settings:
    """Read the settings; ``overrides`` (from a command line) win where they are not None.

    Raises SettingsError naming the setting, never its value: it may be a password.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given)
        make_url(settings.database())
    except ValidationError as error:
        names = ", ".join(sorted({str(part["loc"][0]) for part in error.errors()}))
        detail = "; ".join(sorted({part["msg"] for part in error.errors()}))
        raise SettingsError(f"bad setting {names}: {detail}", hint=f"see EAS_{names.upper()}") from None
    except ArgumentError:
        raise SettingsError(
            "the task database's URL is not one that SQLAlchemy understands",
            hint="e.g. sqlite:////data/eas.sqlite or mysql+pymysql://user@host:3306/eas",
        ) from None
    return settings


class SettingValue(NamedTuple):
    """One setting: its value without secrets, and its source (*environment*, *file* or *default*)."""

    name: str
    variable: str
    value: str
    source: str


def effective_settings(settings: Settings) -> list[SettingValue]:
    """Return every setting with its source; passwords and keys of stores are masked."""
    saved = _saved(home_directory() / SETTINGS_FILE)
    environment = {name.upper(): value for name, value in os.environ.items()}
    found = []
    for name in Settings.model_fields:
        variable = f"EAS_{name.upper()}"
        source = "environment" if environment.get(variable) else "file" if name in saved else "default"
        found.append(SettingValue(name, variable, _display_value(settings, name), source))
    return found


def _display_value(settings: Settings, name: str) -> str:
    """Return the value of a setting without secrets."""
    if name == "database_url":
        return safe_url(settings.database())
    if name == "store_options":
        return _masked_options(settings.store_options.get_secret_value())
    if name in ("data_dir", "store_url"):
        effective = settings.data_directory if name == "data_dir" else settings.store_location
        return "::".join(_without_password(part) for part in str(effective).split("::"))
    value = getattr(settings, name)
    text = str(value.get_secret_value() if isinstance(value, SecretStr) else value)
    return _without_password(text)


def _masked_options(text: str) -> str:
    """Return the names in a JSON object, without their values."""
    try:
        options = json.loads(text or "{}")
    except ValueError:
        options = None
    return ", ".join(f"{key}=***" for key in options) if isinstance(options, dict) else "(not a JSON object)"


def _without_password(url: str) -> str:
    """Return a URL without its password; other texts as they are."""
    return safe_url(url) if "://" in url and "@" in url else url


def save(settings: Settings) -> Path:
    """Write the settings for later calls, readable by this user alone; return the path."""
    path = settings.home / SETTINGS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "database_url": settings.database(),
        "queue_url": settings.queue_url.get_secret_value(),
        "data_dir": str(settings.data_directory),
        "store_url": settings.store_url,
        "store_options": settings.store_options.get_secret_value(),
    }
    temporary = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    return path


def safe_url(url: str) -> str:
    """Return ``url`` with its password masked, fit for logs."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(unreadable URL)"
