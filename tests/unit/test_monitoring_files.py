"""Alerts and dashboard name metrics and labels that the supervisor exports, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from prometheus_client.metrics_core import Metric

from eas.metrics import families
from eas.taskdb.queries.metrics import BUCKETS, Durations, Snapshot

FOLDER = Path(__file__).parents[2] / "infra" / "monitoring"
ALERTS = FOLDER / "alerts.yaml"
DASHBOARD = FOLDER / "grafana-dashboard.json"
DOCUMENTED = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"

WORDS = {"absent", "or", "and", "max", "min", "sum", "by", "rate", "increase", "histogram_quantile"}
"""What of PromQL the expressions use."""
OF_COLLECTOR = {"eas_database_up", "eas_snapshot_age_seconds", "eas_snapshot_read_seconds"}


def snapshot() -> Snapshot:
    queue = SimpleNamespace(task_type="null", due=1, running=1, oldest=1.0, paused=0)
    done = Durations(1, 1.0, (1,) * len(BUCKETS))
    return Snapshot(
        now=10.0,
        jobs={"submitted": 1},
        undriven=0,
        tasks={("null", "queued"): 1},
        queues={"null": queue},  # type: ignore[dict-item]
        workers={("eas-base", "idle"): 1},
        leases={"supervisor": 9.0, "scale-workers": None},
        ended={("null", "done"): done},
    )


def exported() -> dict[str, set[str]]:
    """Return the labels of each series, by name."""
    found: dict[str, set[str]] = {name: set() for name in OF_COLLECTOR}
    for family in families(snapshot()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    assert group["name"] == "eas"
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def expressions() -> Iterator[str]:
    for rule in rules():
        yield rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"]


def check(expression: str) -> set[str]:
    """Check names, labels and brackets of an expression; return the series that it reads."""
    series = exported()
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing), expression
    text = re.sub(r'"[^"]*"', '""', expression)
    used = set(re.findall(r"\beas_\w+", text))
    assert used, expression
    assert used <= series.keys(), f"{used - series.keys()} are not exported: {expression}"
    known = set().union(*(series[name] for name in used))
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"\"", text))
    for listed in re.findall(r"\bby\s*\(([^)]*)\)", text):
        labels |= {each.strip() for each in listed.split(",")}
    assert labels <= known, f"{labels - known} are no labels of {used}: {expression}"
    for reads in re.findall(r"(\w+)(?:\{[^}]*\})?\[", text):
        assert reads.endswith(("_total", "_bucket", "_sum", "_count")), f"a rate of no counter: {expression}"
    rest = re.sub(r"\beas_\w+|\{[^}]*\}|\[[^\]]*\]|\bby\s*\([^)]*\)", " ", text)
    assert set(re.findall(r"[a-zA-Z_]+", rest)) <= WORDS, expression
    return used


def test_every_expression_reads_what_is_exported() -> None:
    for expression in expressions():
        check(expression)


def test_the_check_finds_a_wrong_name_a_wrong_label_and_a_rate_of_a_gauge() -> None:
    wrong = ("max(eas_queue_dept)", 'eas_jobs{stat="running"}', "max by (worker) (eas_workers)", "rate(eas_tasks[5m])",
             "max(eas_jobs", "maximum(eas_jobs)")  # fmt: skip
    for expression in wrong:
        try:
            check(expression)
        except AssertionError:
            continue
        raise RuntimeError(f"it found nothing wrong in {expression}")


def test_the_three_alerts_say_what_to_do() -> None:
    assert [rule["alert"] for rule in rules()] == ["EASNoSupervisor", "EASOldestQueuedTaskTooOld", "EASFailures"]
    for rule in rules():
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+m", rule["for"])
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_dashboard_shows_every_metric_and_its_panels_do_not_overlap() -> None:
    read = set().union(*(check(target["expr"]) for panel in panels() for target in panel["targets"]))
    shown = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in read}
    metrics: set[str] = {family.name for family in families(snapshot()) if isinstance(family, Metric)}
    assert metrics - shown == {"eas_queue_paused"}
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_every_metric_is_documented_with_its_labels() -> None:
    text = DOCUMENTED.read_text()
    rows = dict(re.findall(r"^\| `(eas_\w+)` \|([^|]*)\|", text, flags=re.MULTILINE))
    series: dict[str, set[str]] = {name: set() for name in OF_COLLECTOR}
    for family in families(snapshot()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        series[name] = set().union(*(sample.labels for sample in family.samples)) - {"le"}
    assert rows.keys() == series.keys()
    for name, labels in series.items():
        assert set(re.findall(r"`(\w+)`", rows[name])) == labels, name
