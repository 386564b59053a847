"""The blocks: Prefect's own suite for block types, and the way from settings to blocks and back."""

from __future__ import annotations

import json

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import ValidationError

from blocks import EASDatabase, EASFileStore, EASJobQueue, blocks_of
from blocks.saved import settings_of
from eas import settings
from eas.errors import SettingsError
from eas.filestore.remote import RemoteFileStore
from eas.queues.sql import SQLQueue

URLS = [
    "sqlite:////data/eas.sqlite",
    "mysql+pymysql://eas:p%40ss%2Fword@db.example:3307/eas?ssl_ca=%2Fetc%2Fca.pem",
    "mysql+pymysql://eas@db.example/eas",
]
QUEUE_URLS = ["sql:", "amqp://eas:p%40ss@mq.example:5673/%2F", "amqps://eas:x@mq.example:5671/plato%2Ftest"]


@pytest.mark.parametrize("block", [EASDatabase, EASJobQueue, EASFileStore])
class TestStandard(BlockStandardTestSuite):
    @pytest.fixture
    def block(self, request: pytest.FixtureRequest) -> type[Block]:
        return request.param  # type: ignore[no-any-return]

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """Prefect's own test would fetch the picture from the network."""
        assert str(block._logo_url).startswith("https://")
        assert str(block._logo_url).endswith(".png")


@pytest.mark.parametrize("url", URLS)
def test_a_database_url_comes_back_as_it_was(url: str) -> None:
    assert EASDatabase.from_url(url).get_url().get_secret_value() == url


@pytest.mark.parametrize("url", QUEUE_URLS)
def test_a_queue_url_comes_back_as_it_was(url: str) -> None:
    assert EASJobQueue.from_url(url).get_url().get_secret_value() == url


def test_passwords_show_nowhere() -> None:
    shown = repr(EASDatabase.from_url(URLS[1])) + str(EASDatabase.from_url(URLS[1]).get_url())
    shown += repr(EASJobQueue.from_url(QUEUE_URLS[1]))
    assert "p@ss" not in shown
    assert "p%40ss" not in shown
    assert "p%40ss" not in str(EASDatabase.from_url(URLS[1]).model_dump(mode="json"))


def test_the_prototypes_names_of_engines_are_known() -> None:
    url = EASDatabase(drivername="mysql", host="db", database="eas").get_url().get_secret_value()
    assert url == "mysql+pymysql://db/eas"


def test_a_block_opens_the_database(tmp_path) -> None:
    block = EASDatabase.from_url(f"sqlite:///{tmp_path}/mine.sqlite")
    engine = block.get_engine()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    engine.dispose()
    assert (tmp_path / "mine.sqlite").exists()
    database = block.get_database()
    assert isinstance(EASJobQueue().get_queue(database), SQLQueue)
    database.close()


@pytest.mark.parametrize("url", ["/data/eas", "file:///data/eas", "file://localhost/data/eas"])
def test_a_local_store_may_be_given_as_path_or_url(url: str) -> None:
    assert EASFileStore(url=url).get_store().name == "/data/eas"


@pytest.mark.parametrize(
    ("url", "what"), [("data/eas", "absolute"), ("file://data", "absolute"), ("ftp://me:hush@host/x", "password")]
)
def test_urls_that_cannot_serve_are_refused_with_a_reason(url: str, what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        EASFileStore(url=url)
    with pytest.raises(ValidationError, match="absolute"):
        EASFileStore(url="/data/eas", data_directory="eas-data")


def test_an_object_stores_keys_are_secret() -> None:
    block = EASFileStore(url="s3://bucket/eas", options={"key": "mykeyid", "secret": "hush"})
    assert "hush" not in repr(block) + str(block.model_dump(mode="json"))
    assert json.loads(block.get_options()) == {"key": "mykeyid", "secret": "hush"}
    store = block.get_store()
    assert isinstance(store, RemoteFileStore)
    assert store.name == "s3://bucket/eas"
    assert block.get_filesystem().fs.secret == "hush"


def test_the_store_can_be_browsed(tmp_path) -> None:
    (tmp_path / "wd").mkdir()
    (tmp_path / "wd" / "lc.txt").write_text("flux")
    files = EASFileStore(url=f"file://{tmp_path}").get_filesystem()
    assert files.ls("wd", detail=False) == ["wd/lc.txt"]
    assert files.cat("wd/lc.txt") == b"flux"


@pytest.mark.parametrize("store", [{}, {"store_url": "s3://bucket/eas", "store_options": '{"secret": "hush"}'}])
def test_settings_become_blocks_and_blocks_settings(
    tmp_path, monkeypatch: pytest.MonkeyPatch, store: dict[str, str]
) -> None:
    monkeypatch.setenv("EAS_HOME", str(tmp_path))
    given = settings.load(database_url=URLS[1], queue_url=QUEUE_URLS[2], **store)
    again = settings.load(**{key: value for block in blocks_of(given) for key, value in settings_of(block).items()})
    assert again.environment() == given.environment()


def test_a_bad_url_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError) as raised:
        EASDatabase.from_url("mysql://user:secret@[bad")
    assert "secret" not in str(raised.value)
