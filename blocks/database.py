"""The block ``EASDatabase``: connection to the task database."""

from __future__ import annotations

from typing import Self

from prefect.blocks.core import Block
from pydantic import Field, SecretStr
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from blocks.urls import DOCUMENTATION, LOGOS, join, split
from eas.errors import SettingsError
from eas.taskdb.engine import TaskDatabase

DRIVERS = {"sqlite": "sqlite", "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}


class EASDatabase(Block):
    """Connection to the EAS task database: a MySQL server or a sqlite file.

    Examples:
        Query the task database of a saved block:
        ```python
        from blocks import EASDatabase

        database = EASDatabase.load("BLOCK_NAME")
        with database.get_engine().connect() as connection:
            print(connection.exec_driver_sql("SELECT COUNT(*) FROM tasks").scalar())
        ```
    """

    _block_type_name = "EAS Task Database"
    _block_type_slug = "eas-database"
    _documentation_url = DOCUMENTATION  # type: ignore[assignment]
    _logo_url = f"{LOGOS}/filesystem.png"  # type: ignore[assignment]

    drivername: str = Field(default="sqlite", description="SQLAlchemy driver name: sqlite or mysql+pymysql.")
    database: str = Field(description="Name of the MySQL database; for sqlite, the absolute path of the file.")
    host: str | None = Field(default=None, description="MySQL: the server's host.")
    port: int | None = Field(default=None, ge=1, le=65535, description="MySQL: the server's port.")
    username: str | None = Field(default=None, description="MySQL: the user.")
    password: SecretStr | None = Field(default=None, description="MySQL: the user's password.")
    query: dict[str, str] = Field(default_factory=dict, description="Further options of the URL, such as ssl_ca.")

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Return the block of a SQLAlchemy URL. Raises SettingsError."""
        parts = split(url, "task database")
        if not parts.database:
            raise SettingsError(
                "the URL of the task database has no database name", hint="e.g. sqlite:////data/eas.sqlite"
            )
        return cls(
            drivername=parts.drivername,
            database=parts.database,
            host=parts.host,
            port=parts.port,
            username=parts.username,
            password=SecretStr(str(parts.password)) if parts.password is not None else None,
            query=_single(parts),
        )

    def get_url(self) -> SecretStr:
        """Return the SQLAlchemy URL, password included."""
        drivername = DRIVERS.get(self.drivername, self.drivername)
        return join(
            drivername,
            self.password,
            database=self.database,
            host=self.host,
            port=self.port,
            username=self.username,
            query=self.query,
        )

    def get_database(self) -> TaskDatabase:
        """Return the task database; close it after use."""
        return TaskDatabase(self.get_url().get_secret_value())

    def get_engine(self) -> Engine:
        """Return a SQLAlchemy engine configured like the one that EAS uses."""
        return self.get_database().engine


def _single(parts: URL) -> dict[str, str]:
    return {key: value if isinstance(value, str) else ",".join(value) for key, value in parts.query.items()}
