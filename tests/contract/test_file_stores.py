"""What every file store must do: on a disk, in memory, and behind a server that speaks S3."""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from eas.errors import ChecksumError, ServiceError, SettingsError, StoreError, StorePathError
from eas.filestore import FileStore, LocalFileStore, open_store
from eas.filestore.remote import RemoteFileStore
from eas.model import NewVersion, StoredVersion
from tests.s3 import S3, s3_server

KINDS = ("disk", "disk-url", "memory", "s3")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    """A new store."""
    scratch = tmp_path / "scratch"
    if request.param == "disk":
        return open_store(str(tmp_path / "store"), scratch=scratch)
    if request.param == "disk-url":
        return open_store(f"file://{tmp_path}/a%20store", scratch=scratch)
    if request.param == "memory":
        return open_store(f"memory://{uuid.uuid4().hex}", scratch=scratch)
    server = request.getfixturevalue("s3")
    return open_store(server.new_bucket(), json.dumps(server.options), scratch=scratch)


@pytest.fixture
def add(store: FileStore) -> Iterator[Callable[..., NewVersion]]:
    with store.staging() as staging:

        def write(text: str = "flux", name: str = "a/b.lc", wd: str = "wd", attempt: int = 1) -> NewVersion:
            source = staging / uuid.uuid4().hex
            source.write_text(text)
            return store.add(source, semantic="lc", working_directory=wd, file_name=name, attempt_id=attempt)

        yield write


def stored(version: NewVersion) -> StoredVersion:
    return StoredVersion(1, version.file_name, version.store_path, version.size, version.sha256)


def shown(store: FileStore, path: str) -> str | None:
    """Return the content under a published name."""
    if isinstance(store, LocalFileStore):
        found = store.root / path
        return found.read_text() if found.exists() else None
    assert isinstance(store, RemoteFileStore)
    store.files.invalidate_cache()
    return store.files.cat(path).decode() if store.files.exists(path) else None


def spoil(store: FileStore, path: str, text: str | None) -> None:
    """Change or remove a file behind the store's back."""
    if isinstance(store, LocalFileStore):
        (store.root / path).unlink()
        if text is not None:
            (store.root / path).write_text(text)
    else:
        assert isinstance(store, RemoteFileStore)
        store.files.rm_file(path)
        if text is not None:
            store.files.pipe_file(path, text.encode())


def test_what_is_added_comes_back(store: FileStore, add: Callable[..., NewVersion], tmp_path: Path) -> None:
    version = add("Lichtkurve ü", name="ü/b c.lc")
    assert (version.semantic, version.file_name, version.size) == ("lc", "ü/b c.lc", 13)
    assert version.sha256 == hashlib.sha256("Lichtkurve ü".encode()).hexdigest()
    assert version.store_path.startswith("wd/.versions/1-")
    for _ in range(2):
        path = store.local_copy(stored(version), tmp_path / "inputs")
        assert path.read_text() == "Lichtkurve ü"
        assert path.name == "b c.lc"


def test_a_version_is_moved_there_and_staging_leaves_nothing(store: FileStore, tmp_path: Path) -> None:
    with store.staging() as staging:
        source = staging / "x"
        source.write_text("1")
        store.add(source, semantic="", working_directory="", file_name="x", attempt_id=3)
        assert not source.exists()
    assert not staging.exists()


def test_versions_of_one_attempt_do_not_replace_each_other(
    store: FileStore, add: Callable[..., NewVersion], tmp_path: Path
) -> None:
    versions = [add("one"), add("two")]
    texts = [store.local_copy(stored(each), tmp_path / "inputs").read_text() for each in versions]
    assert texts == ["one", "two"]


def test_the_published_name_links_what_was_published_last(store: FileStore, add: Callable[..., NewVersion]) -> None:
    first, second = add("one"), add("two", attempt=2)
    assert shown(store, "wd/a/b.lc") is None
    for version, text in ((first, "one"), (second, "two"), (second, "two"), (first, "one")):
        store.set_published_name("wd", "a/b.lc", version.store_path)
        assert shown(store, "wd/a/b.lc") == text
    if isinstance(store, RemoteFileStore):
        assert store.files.ls("wd/a", detail=False) == ["wd/a/b.lc"], "no temporary name stays"


def test_a_discarded_version_is_gone(store: FileStore, add: Callable[..., NewVersion], tmp_path: Path) -> None:
    version = add()
    for _ in range(2):
        store.discard(version)
    assert shown(store, version.store_path) is None
    with pytest.raises(ChecksumError, match="missing from the store"):
        store.local_copy(stored(version), tmp_path / "inputs")


def test_a_published_name_is_removed_and_the_version_stays(
    store: FileStore, add: Callable[..., NewVersion], tmp_path: Path
) -> None:
    version = add("flux")
    store.set_published_name("wd", "b.lc", version.store_path)
    for _ in range(2):
        store.remove_published_name("wd", "b.lc")
    assert shown(store, "wd/b.lc") is None
    assert shown(store, version.store_path) == "flux"
    with pytest.raises(StorePathError):
        store.remove_published_name("wd", "../../outside")


@pytest.mark.parametrize("text", ["flax", "longer flux", "", None])
def test_a_version_that_was_changed_is_not_read(
    store: FileStore, add: Callable[..., NewVersion], tmp_path: Path, text: str | None
) -> None:
    version = add("flux")
    spoil(store, version.store_path, text)
    with pytest.raises(ChecksumError, match=r"b\.lc"):
        store.local_copy(stored(version), tmp_path / "inputs")
    assert list((tmp_path / "inputs").rglob("b.lc")) == []


@pytest.mark.parametrize(
    ("wd", "name"), [("wd", "../x"), ("wd", "/x"), ("..", "x"), ("wd", ".versions/x"), ("/a", "x")]
)
def test_names_do_not_leave_the_store(store: FileStore, add: Callable[..., NewVersion], wd: str, name: str) -> None:
    with pytest.raises(StorePathError):
        add(name=name, wd=wd)
    version = add(name="x")
    with pytest.raises(StorePathError):
        store.set_published_name(wd, name, version.store_path)


def test_links_and_folders_are_not_taken(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with store.staging() as staging:
        (staging / "link").symlink_to(tmp_path / "secret")
        (staging / "folder").mkdir()
        for name in ("link", "folder"):
            with pytest.raises(StorePathError, match="plain file"):
                store.add(staging / name, semantic="", working_directory="wd", file_name="x", attempt_id=1)


def test_the_check_leaves_nothing(store: FileStore) -> None:
    store.check()
    if isinstance(store, RemoteFileStore):
        assert store.files.find("") == []
    else:
        assert isinstance(store, LocalFileStore)
        assert [each for each in store.root.rglob("*") if each.is_file()] == []


# -- what only remote stores meet ------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_not_made(s3: S3, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="be written"):
        open_store("s3://nowhere-to-be-found", json.dumps(s3.options), scratch=tmp_path).check()
    assert "nowhere-to-be-found" not in s3.buckets()


def test_a_server_that_is_away_is_reported_without_secrets(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr("eas.filestore.remote.MAX_TRIES", 2)
    options: dict[str, Any] = {"endpoint_url": "http://127.0.0.1:9", "key": "mykeyid", "secret": "hush-hush-hush"}
    options["config_kwargs"] = {"retries": {"max_attempts": 0}}
    with caplog.at_level(logging.DEBUG), pytest.raises(ServiceError, match="cannot be written") as raised:
        open_store("s3://bucket/eas", json.dumps(options), scratch=tmp_path).check()
    assert "hush" not in str(raised.value) + caplog.text
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("store", ["memory", "s3"], indirect=True)
def test_what_fails_in_transit_is_asked_again(add, store: RemoteFileStore, tmp_path: Path, monkeypatch) -> None:
    version, real, failed = add(), type(store.files).get_file, []

    def get_file(self, *arguments, **options):
        if not failed:
            failed.append(True)
            raise ConnectionResetError("reset by peer")
        return real(self, *arguments, **options)

    monkeypatch.setattr(type(store.files), "get_file", get_file)
    assert store.local_copy(stored(version), tmp_path / "inputs").read_text() == "flux"
    assert failed


@pytest.mark.parametrize(
    ("url", "options", "what"),
    [
        ("store", "", "not absolute"),
        ("file://store", "", "not absolute"),
        ("nonsense://x", "", "nonsense"),
        ("ftp://user:hush@host/x", "", "holds a password"),
        ("s3://bucket", "hush", "not a JSON object"),
        ("s3://bucket", "[1]", "not a JSON object"),
    ],
)
def test_what_can_be_no_store_is_refused(url: str, options: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=what) as raised:
        open_store(url, options, scratch=tmp_path)
    assert "hush" not in str(raised.value)


def test_a_store_without_copies_of_its_own_is_copied_through(tmp_path: Path, monkeypatch) -> None:
    """SFTP and FTP have no command for that."""

    def none(*_arguments, **_options):
        raise NotImplementedError

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cp_file", none)
    store = open_store(f"memory://{uuid.uuid4().hex}", scratch=tmp_path)
    (tmp_path / "x").write_text("flux")
    version = store.add(tmp_path / "x", semantic="", working_directory="wd", file_name="x", attempt_id=1)
    assert isinstance(store, RemoteFileStore)
    monkeypatch.setattr(
        type(store.files), "mv", lambda self, old, new: self.pipe_file(new, self.cat(old)) or self.rm_file(old)
    )
    store.set_published_name("wd", "x", version.store_path)
    assert shown(store, "wd/x") == "flux"
