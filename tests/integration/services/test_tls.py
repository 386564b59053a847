"""TLS to task database, RabbitMQ and Prefect with a private CA: verified where it is given, refused where it is not."""

from __future__ import annotations

import getpass
import http.server
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pymysql
import pytest
import trustme

from eas import registry
from eas.errors import ServiceError, SettingsError
from eas.queues import rabbitmq
from eas.queues.rabbitmq import RabbitMQQueue
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.migrate import initialise
from infra.services import processes
from tests.services import rabbitmq_server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ca", "other"):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / f"{name}.pem")
        for who, identities in {"server": ["127.0.0.1", "localhost"], "misnamed": ["elsewhere.example"]}.items():
            issued = authority.issue_cert(*identities)
            issued.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}-{who}.pem")
            issued.private_key_pem.write_to_path(folder / f"{name}-{who}.key")
            (folder / f"{name}-{who}.crt").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- RabbitMQ: a TLS terminating proxy before the real broker ----------------------------------


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def tls_proxy(target: tuple[str, int], certificate: Path, client_ca: Path | None = None) -> Iterator[int]:
    """Serve TLS on a port, and pass on what arrives there; with ``client_ca``, clients must show a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(raw: socket.socket) -> None:
            try:
                with context.wrap_socket(raw, server_side=True) as ours, socket.create_connection(target) as theirs:
                    back = threading.Thread(target=_copy, args=(theirs, ours))
                    back.start()
                    _copy(ours, theirs)
                    back.join()
            except OSError:
                raw.close()

        def accept() -> None:
            while True:
                try:
                    raw, _ = listener.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=serve, args=(raw,)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for each in threads:
                each.join()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "BROKER_TIMEOUT", 1.0)


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[AttemptClaims]:
    database = TaskDatabase(f"sqlite:///{tmp_path}/eas.sqlite")
    initialise(database, registry.load())
    yield AttemptClaims(database)
    database.close()


def _secure(url: str, port: int, **parameters: Path | str) -> str:
    parts = urlsplit(url)
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return urlunsplit(("amqps", f"{parts.username}:{parts.password}@127.0.0.1:{port}", parts.path, query, ""))


def _use(url: str, claims: AttemptClaims, prefix: str = "eas-test-none.") -> None:
    queue = RabbitMQQueue(url, claims, prefix=prefix)
    try:
        queue.declare(["null"])
    finally:
        queue.close()


def test_rabbitmq_with_a_private_ca(claims: AttemptClaims, certificates: Path, queue_prefix: str) -> None:
    url = rabbitmq_server()
    target = (urlsplit(url).hostname or "", urlsplit(url).port or 5672)
    with tls_proxy(target, certificates / "ca-server.pem") as port:
        _use(_secure(url, port, cacertfile=certificates / "ca.pem"), claims, queue_prefix)
        for refused in ({}, {"cacertfile": certificates / "other.pem"}):
            with pytest.raises(ServiceError, match=r"(?i)certificate"):
                _use(_secure(url, port, **refused), claims, queue_prefix)
    misnamed = certificates / "ca-misnamed.pem"
    with tls_proxy(target, misnamed) as port, pytest.raises(ServiceError, match=r"(?i)certificate"):
        _use(_secure(url, port, cacertfile=certificates / "ca.pem"), claims, queue_prefix)


def test_rabbitmq_that_asks_for_a_certificate(claims: AttemptClaims, certificates: Path, queue_prefix: str) -> None:
    url = rabbitmq_server()
    target = (urlsplit(url).hostname or "", urlsplit(url).port or 5672)
    ours = {"certfile": certificates / "ca-server.crt", "keyfile": certificates / "ca-server.key"}
    with tls_proxy(target, certificates / "ca-server.pem", certificates / "ca.pem") as port:
        _use(_secure(url, port, cacertfile=certificates / "ca.pem", **ours), claims, queue_prefix)
        with pytest.raises(ServiceError):
            _use(_secure(url, port, cacertfile=certificates / "ca.pem"), claims, queue_prefix)


@pytest.mark.parametrize("query", ["cacertfile=/nowhere.pem", "certfile=/nowhere.pem", "cacertfile=/dev/null"])
def test_certificates_that_cannot_be_used_are_named(query: str, claims: AttemptClaims) -> None:
    with pytest.raises(SettingsError, match=query.partition("=")[0]):
        _use(f"amqps://eas:secret@127.0.0.1:1/?{query}", claims)
    with pytest.raises(SettingsError, match="without TLS"):
        _use(f"amqp://eas:secret@127.0.0.1:1/?{query}", claims)


# -- the task database: a server with certificates of its own ----------------------------------


@pytest.fixture(scope="module")
def secure_mariadb(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    try:
        server = processes.require("mariadbd", "mariadb-server")
        install = processes.require("mariadb-install-db", "mariadb-server")
    except SystemExit:
        pytest.skip("MariaDB is not installed: `make services`")
    folder, port, user = tmp_path_factory.mktemp("mariadb"), free_port(), f"--user={getpass.getuser()}"
    data = f"--datadir={folder / 'data'}"
    subprocess.run([install, "--no-defaults", data, user, "--skip-test-db"], check=True, capture_output=True)
    grants = folder / "grants.sql"
    grants.write_text("CREATE USER 'eas'@'%' IDENTIFIED BY 'x' REQUIRE SSL;\nGRANT ALL ON *.* TO 'eas'@'%';\n")
    command = [
        server, "--no-defaults", data, user, "--bind-address=127.0.0.1", f"--port={port}", "--skip-name-resolve",
        f"--socket={folder / 's'}", f"--pid-file={folder / 'pid'}", f"--init-file={grants}",
        "--innodb-buffer-pool-size=32M", f"--ssl-ca={certificates / 'ca.pem'}",
        f"--ssl-cert={certificates / 'ca-server.crt'}", f"--ssl-key={certificates / 'ca-server.key'}",
    ]  # fmt: skip
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _await_port(port, process, certificates / "ca.pem")
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _await_port(port: int, process: subprocess.Popen[bytes], authority: Path) -> None:
    problem: object = ""
    for _ in range(300):
        try:
            login = {"user": "eas", "password": "x", "ssl": {"ca": str(authority)}}
            pymysql.connect(host="127.0.0.1", port=port, connect_timeout=1, **login).close()
        except pymysql.err.OperationalError as error:
            problem = error
            if process.poll() is not None:
                break
            threading.Event().wait(0.1)
        else:
            return
    pytest.fail(f"MariaDB did not start: {problem}")


def _ask(port: int, query: str, host: str = "127.0.0.1") -> str:
    database = TaskDatabase(f"mysql+pymysql://eas:x@{host}:{port}/eas{query}")
    try:
        database.create()
        initialise(database, registry.load())
        with database.read() as connection:
            return str(connection.exec_driver_sql("SHOW STATUS LIKE 'Ssl_version'").one()[1])
    finally:
        database.close()


def test_a_task_database_with_a_private_ca(secure_mariadb: int, certificates: Path) -> None:
    assert _ask(secure_mariadb, f"?ssl_ca={certificates / 'ca.pem'}").startswith("TLSv1.")


def test_a_task_database_with_another_ca_or_another_name_is_refused(secure_mariadb: int, certificates: Path) -> None:
    with pytest.raises(ServiceError, match=r"(?i)certificate"):
        _ask(secure_mariadb, f"?ssl_ca={certificates / 'other.pem'}")
    with pytest.raises(ServiceError, match=r"(?i)certificate|hostname"):
        _ask(secure_mariadb, f"?ssl_ca={certificates / 'ca.pem'}", host="127.0.0.2")


# -- Prefect: whatever its client is given ------------------------------------------------------


class _Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"true")

    def log_message(self, *_: object) -> None:
        pass


ASK = "from eas.cli.prefect_client import require_server; require_server(print, 0.0)"


@pytest.mark.parametrize(("authority", "accepted"), [("ca", True), ("other", False)])
def test_prefect_with_a_private_ca(authority: str, accepted: bool, certificates: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Health) as server:
        threading.Thread(target=server.serve_forever).start()
        with tls_proxy(("127.0.0.1", server.server_address[1]), certificates / "ca-server.pem") as port:
            given = {
                "PREFECT_API_URL": f"https://127.0.0.1:{port}/api",
                "PREFECT_API_SSL_CERT_FILE": str(certificates / f"{authority}.pem"),
            }
            done = subprocess.run(
                [sys.executable, "-c", ASK], env=os.environ | given, capture_output=True, text=True, check=False
            )
        server.shutdown()
    assert (done.returncode == 0) is accepted, done.stderr
    assert accepted or "CERTIFICATE_VERIFY_FAILED" in done.stderr
