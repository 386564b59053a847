"""The web application: every page, its security, and texts that try to be more than text."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx
import pytest

from eas.app import App
from eas.cli import main
from eas.settings import Settings
from eas.taskdb import tables, workers
from eas.web.security import CONTENT_SECURITY_POLICY, LOCAL, Access, allowed_hosts
from tests import hostile
from tests.contract.chains import new_worker
from tests.integration.harness import System
from tests.observed import observed, task_id  # noqa: F401
from tests.web_server import serving

LISTS = ["/jobs", "/tasks", "/files", "/logs", "/workers", "/queues", "/timings", "/pass-fail"]
OF_JOB = [
    "/jobs/1",
    "/jobs/1/errors",
    "/jobs/1/timeline",
    "/jobs/1/chain",
    "/tasks?job=1",
    "/files?job=1",
    "/logs?job=1",
    "/logs?level=error",
    "/timings?job=1",
    "/pass-fail?job=1",
    "/tasks?job=1&state=failed",
    "/tasks?text=x",
]


@pytest.fixture(scope="module")
def client(observed: System) -> Iterator[httpx.Client]:  # noqa: F811
    with serving(observed.app) as made:
        made.get("/jobs/1")
        yield made


def page(client: httpx.Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status, (address, answer.text[-2000:])
    return answer.text


@pytest.mark.parametrize("address", [*LISTS, *OF_JOB, "/tasks/1", "/tasks/1/children", "/files/1"])
def test_every_page_answers_with_its_policy(client, address):
    answer = client.get(address)
    assert answer.status_code == 200, answer.text[-2000:]
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    for found in re.findall(r'(?:href|src)="([^"]*)"', answer.text):
        assert found.startswith(("/", "#")), found
    assert " style=" not in answer.text
    assert " onclick" not in answer.text


def links(text: str) -> set[str]:
    return {
        found.replace("&amp;", "&").partition("#")[0]
        for found in re.findall(r'(?:href|src|data-source)="([^"]*)"', text)
    }


def test_every_link_of_every_page_leads_somewhere(client):
    """From the list of jobs on, without knowing an id, everything is found by clicking."""
    seen: set[str] = set()
    todo = ["/jobs"]
    while todo:
        address = todo.pop()
        if not address or address in seen or len(seen) > 600:
            continue
        seen.add(address)
        answer = client.get(address)
        assert answer.status_code == 200, (address, answer.text[-500:])
        if answer.headers["content-type"].startswith("text/html"):
            todo += sorted(links(answer.text) - seen)
    kinds = {re.sub(r"\d+", "N", address.partition("?")[0]) for address in seen}
    assert {
        "/jobs/N",
        "/tasks/N",
        "/files/N",
        "/versions/N/download",
        "/versions/N/plot.png",
        "/versions/N/folded.png",
        "/jobs/N/errors",
        "/jobs/N/timeline",
        "/jobs/N/chain",
        "/tasks/N/children",
        "/tasks/N/log",
        "/workers",
        "/queues",
        "/logs",
        "/timings",
        "/pass-fail",
    } <= kinds


def test_a_job_shows_progress_and_who_drives_it(client):
    text = page(client, "/jobs")
    assert "75 %" in text
    assert "eas run --resume 2" in text
    assert "No process drives this job" in page(client, "/jobs/2")
    assert "No process drives" not in page(client, "/jobs/1")


def test_a_queue_of_the_base_type_is_served_by_every_worker(client, observed):  # noqa: F811
    database = observed.app.database
    new_worker(database, "a-worker", ["eas-worker-tls"])
    try:
        rows = {cells[0]: cells[2] for cells in table_rows(page(client, "/queues"))}
        assert (rows["multiply"], rows["transit_search_tls"], rows["transit_search_qats"]) == ("1", "1", "0")
    finally:
        database.transact(lambda c: workers.mark_left(c, "a-worker", "the test has ended", database.now()))


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of each row, without their marks."""
    cells = re.compile(r"<t[hd][^>]*>(.*?)</t[hd]>", re.DOTALL)
    rows = (cells.findall(row) for row in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL))
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in rows]


def test_tasks_are_sorted_as_chosen_or_it_says_why_not(client, observed, monkeypatch):  # noqa: F811
    names = [cells[2] for cells in table_rows(page(client, "/tasks?job=1&order=type")) if cells]
    assert names == sorted(names, key=lambda text: text.split()[0])
    assert "longest first" in page(client, "/tasks?job=1&order=duration")
    assert "no order" in page(client, "/tasks?order=nonsense", 400)
    monkeypatch.setattr("eas.taskdb.queries.sorted_tasks.MAX_SORTED_TASKS", 3)
    assert "Narrow the filter to sort them" in page(client, "/tasks?job=1&order=ended")


def test_a_task_shows_what_is_known(client, observed):  # noqa: F811
    text = page(client, f"/tasks/{task_id(observed, 'product', 1)}")
    for said in (
        "multiply &#34;product&#34; [size=0.2]",
        "lightcurve_1",
        "wd/curve_1.lc",
        "QC passed",
        "orbital_period",
        "&#39;p_{size_index}.lc&#39;.format(**metadata)",
    ):
        assert said in text, said
    assert "blocked by error" in page(client, f"/tasks/{task_id(observed, 'never')}")
    broken = f"/tasks/{task_id(observed, 'broken')}"
    assert "DeliberateError" in page(client, broken)
    assert "No log at this level" in page(client, f"{broken}?level=critical")


def test_filters_are_in_the_address(client, observed):  # noqa: F811
    text = page(client, "/tasks?job=observed&loop.size=0.2&type=verify")
    assert f'/tasks/{task_id(observed, "check", 1)}"' in text
    assert f'/tasks/{task_id(observed, "check", 0)}"' not in text
    assert 'name="loop.size" value="0.2"' in text


@pytest.mark.parametrize("address", [*LISTS[:-1], *OF_JOB[:3], "/files/1", "/tasks/8/log"])
def test_tables_download_as_csv(client, address):
    answer = client.get(address, params={"format": "csv"})
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert len({len(row) for row in rows}) == 1


def test_the_csv_file_has_every_task(client, observed):  # noqa: F811
    rows = list(csv.DictReader(io.StringIO(client.get("/tasks?format=csv&job=1").content.decode("utf-8-sig"))))
    known = observed.rows(tables.tasks.select().where(tables.tasks.c.job_id == 1).order_by(tables.tasks.c.id))
    assert [int(row["task"]) for row in rows] == [row.id for row in known]
    assert {"size=0.1", "size=0.2"} <= {row["loops"] for row in rows}


def test_downloads_are_the_versions_that_sql_knows(client, observed):  # noqa: F811
    version = observed.rows(tables.product_versions.select())[0]
    answer = client.get(f"/versions/{version.id}/download")
    assert len(answer.content) == version.size
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.headers["content-type"] == "application/octet-stream"
    for address in (
        "/versions/99/download",
        "/versions/..%2f..%2fetc%2fpasswd/download",
        "/versions/1/../download",
        "/static/../application.py",
        "/static/%2e%2e/application.py",
        "/versions/99999999999999999999/download",
    ):
        assert client.get(address).status_code == 404, address


def test_light_curves_are_drawn(client, observed):  # noqa: F811
    version = observed.rows(tables.product_versions.select())[0]
    for name in ("plot", "folded"):
        answer = client.get(f"/versions/{version.id}/{name}.png")
        assert answer.content.startswith(b"\x89PNG"), answer.text[-500:]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/jobs/99", 404),
        ("/tasks/99999", 404),
        ("/files/99999", 404),
        ("/nope", 404),
        ("/tasks?state=odd", 400),
        ("/tasks?after=x", 400),
        ("/tasks?job=nope", 404),
        ("/logs?level=odd", 400),
        ("/jobs?after=-1", 400),
        ("/files?after=x", 400),
        ("/tasks/0", 404),
        ("/jobs/1%00", 404),
        ("/tasks?job=%00", 404),
    ],
)
def test_what_is_not_there_is_said(client, address, status):
    assert "<h1>" in page(client, address, status)


def test_nothing_can_be_changed(client):
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert client.request(method, "/jobs").status_code == 405


def test_the_search_field_finds_tasks_jobs_and_files(client, observed):  # noqa: F811
    for text, address in (
        ("8", "/tasks/8"),
        ("observed", "/jobs/1"),
        ("wd/p_0.lc", "/files/"),
        ("else", "/tasks?text=else"),
    ):
        answer = client.get("/search", params={"q": text}, follow_redirects=False)
        assert answer.headers["location"].startswith(address)
        assert answer.status_code == 307


@pytest.mark.parametrize("access", [Access("secret"), Access(user_header="X-Forwarded-User"), Access()])
def test_probes_need_neither_password_nor_proxy_nor_host_name(observed, access):  # noqa: F811
    with serving(observed.app, access) as client:
        answer = client.get("/health", headers={"Host": "10.1.2.3:4280"})
        assert (answer.status_code, answer.text) == (200, "ok\n")
        assert client.post("/health").status_code == 405
        assert client.get("/health/", headers={"Host": "10.1.2.3:4280"}).status_code in (401, 421)


def test_a_password_is_asked_for(observed):  # noqa: F811
    with serving(observed.app, Access("sé:cret", "", frozenset())) as client:
        refused = client.get("/jobs")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
        assert refused.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        for given in ("Basic !", "Bearer x", "Basic " + base64.b64encode(b"eas:wrong").decode(), "Basic"):
            assert client.get("/jobs", headers={"Authorization": given}).status_code == 401
        right = base64.b64encode("eas:sé:cret".encode()).decode()
        assert client.get("/jobs", headers={"Authorization": f"Basic {right}"}).status_code == 200
        assert client.get("/static/style.css").status_code == 401


def test_a_reverse_proxy_names_the_user(observed):  # noqa: F811
    with serving(observed.app, Access("", "X-Forwarded-User", frozenset())) as client:
        assert client.get("/jobs").status_code == 401
        assert client.get("/jobs", headers={"X-Forwarded-User": "ada"}).status_code == 200


def test_a_name_of_another_site_is_refused(observed):  # noqa: F811
    hosts = allowed_hosts("127.0.0.1", "eas.example", guarded=False)
    with serving(observed.app, Access(hosts=hosts)) as client:
        for host, status in (
            ("127.0.0.1:4280", 200),
            ("localhost", 200),
            ("[::1]:4280", 200),
            ("EAS.example", 200),
            ("evil.example", 421),
            ("127.0.0.1.evil.example", 421),
        ):
            assert client.get("/jobs", headers={"Host": host}).status_code == status, host
    assert allowed_hosts("0.0.0.0", "", guarded=False) == frozenset()
    assert allowed_hosts("127.0.0.1", "", guarded=True) == frozenset()
    assert hosts >= LOCAL


def test_loopback_is_the_default_and_a_port_in_use_is_said(monkeypatch, tmp_path, capsys):
    import socket

    monkeypatch.setenv("EAS_HOME", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SystemExit) as left:
            main(["web", "--port", str(taken.getsockname()[1])])
    assert left.value.code == 3
    assert "cannot listen on 127.0.0.1:" in capsys.readouterr().err


class Elements(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: set[str] = set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            self.attributes.add(name)
            if name in ("href", "src", "action"):
                self.addresses.add(value or "")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("hostile")
    hostile.make(folder).close()
    app = App(Settings(home=folder))
    with serving(app) as made:
        made.get("/jobs/1")
        yield made
    app.close()


HOSTILE_PAGES = [
    *LISTS,
    *OF_JOB,
    *(f"/tasks/{number}" for number in (1, 2, 3, 4)),
    "/tasks/1/children",
    "/files/2",
    "/files/3",
    "/pass-fail?job=1&type=null",
    "/nope%3Cscript%3E",
    "/tasks?job=%3Cscript%3Ealert(1)%3C/script%3E",
    "/tasks?text=%22%3E%3Cscript%3E&loop.%3Cscript%3E=%00&job=1",
    "/tasks?state=%1b%5b31m",
    "/tasks?worker=w",
]


@pytest.mark.parametrize("address", HOSTILE_PAGES)
def test_texts_of_users_are_text(attacked, address):
    text = attacked.get(address).text
    assert not set(text) & set(hostile.FORBIDDEN), sorted(set(text) & set(hostile.FORBIDDEN))
    found = Elements()
    found.feed(text)
    assert not any(name.startswith("on") for name in found.attributes)
    assert "style" not in found.attributes
    assert text.count("<script") == (1 if "<html" in text else 0)
    images = [each for each in found.addresses if each.startswith("/versions")]
    assert "img" not in found.tags or images
    assert all(each.startswith(("/", "#")) for each in found.addresses), found.addresses
    assert "49" not in re.findall(r"\{\{7\*7\}\}|\b49\b", text)


@pytest.fixture(scope="module")
def shown(attacked) -> list[str]:
    return [attacked.get(address).text for address in HOSTILE_PAGES]


@pytest.mark.parametrize(
    "field",
    [
        "job",
        "dir",
        "source",
        "seed",
        "driver",
        "name",
        "reason",
        "loop",
        "loop value",
        "metadata",
        "metadata value",
        "setting",
        "setting value",
        "requires",
        "file",
        "out",
        "in",
        "host",
        "check",
        "detail",
        "output",
        "output value",
        "attempt reason",
        "logger",
        "message",
        "traceback",
        "key",
        "value",
        "outcome",
        "worker reason",
        "type",
    ],
)
def test_every_field_of_users_was_looked_at(shown, field):
    assert any(f"{field} &lt;script&gt;" in text or f"{field} 2 &lt;script&gt;" in text for text in shown), field


def test_a_hostile_path_in_sql_is_no_way_out_of_the_store(attacked):
    answer = attacked.get("/versions/1/download")
    assert answer.status_code >= 400
    assert "root:" not in answer.text


def test_formulas_of_csv_files_are_text(attacked):
    from eas.web.rendering import cell

    assert cell("=cmd|' /C calc'!A0") == "'=cmd|' /C calc'!A0"
    assert cell("\tx") == "'\tx"
    assert cell(-1.5) == -1.5
    assert "\x1b" not in attacked.get("/logs?format=csv").text
