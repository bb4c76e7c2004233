"""The dashboard and the alert rules speak of metrics, labels and outcomes that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import yaml
from click.testing import CliRunner

from mlops_box.cli.main import command
from mlops_box.errors import BoxError
from mlops_box.operations.dashboard import alert_rules, alert_rules_text, dashboard_json
from mlops_box.operations.dashboard.panels import ANSWERED, CALLERS_FAULT, NOT_OUR_FAULT
from mlops_box.serving import problems
from mlops_box.serving.metric_table import TABLE
from mlops_box.serving.problems import problem_of


def kinds(kind: type[BoxError] = BoxError) -> Iterator[type[BoxError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


def test_what_counts_as_the_callers_fault_is_answered_with_4xx_and_no_fault_of_ours_is_among_it() -> None:
    codes = {
        kind.code: kind for kind in kinds() if kind.__module__ in ("mlops_box.errors", problems.__name__)
    }
    for code in CALLERS_FAULT:
        kind = codes[code.removeprefix("feedback_")]
        problem = kind([{"row": 0, "message": ""}]) if kind is problems.ContractViolation else kind("")  # type: ignore[arg-type]
        assert 400 <= problem_of(problem).status < 500
    assert not {"overloaded", "busy", "storage", "integrity", "unavailable", "internal"} & {
        *CALLERS_FAULT,
        *ANSWERED,
    }
    # It stands in a matcher of PromQL, which is anchored at both ends.
    assert re.fullmatch(r"[a-z_|]+", NOT_OUR_FAULT)


def test_panels_do_not_overlap_and_ids_are_their_own() -> None:
    panels = dashboard_json()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_brackets_of_every_query_match() -> None:
    queries = [target["expr"] for panel in dashboard_json()["panels"] for target in panel.get("targets", [])]
    queries += [rule["expr"] for rule in alert_rules()["groups"][0]["rules"]]
    assert len(queries) > 30
    for query in queries:
        bare = re.sub(r'"[^"]*"', "", query)
        for opening, closing in ("()", "{}", "[]"):
            assert bare.count(opening) == bare.count(closing), query
        assert "{," not in bare


def test_every_metric_that_a_model_has_is_on_the_dashboard() -> None:
    text = json.dumps(dashboard_json())
    shown = {metric.name for metric in TABLE if metric.name in text}
    assert {metric.name for metric in TABLE if "model" in metric.labels} <= shown


def test_the_rules_read_the_same_as_yaml_and_as_json() -> None:
    assert yaml.safe_load(alert_rules_text()) == alert_rules()
    names = [rule["alert"] for rule in alert_rules()["groups"][0]["rules"]]
    assert len(set(names)) == len(names)


def test_the_command_prints_what_grafana_and_prometheus_import() -> None:
    def told(*arguments: str) -> str:
        result = CliRunner().invoke(command, ["dashboard", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    assert json.loads(told()) == json.loads(told("--json")) == dashboard_json()
    assert told("--alerts") == alert_rules_text()
    assert json.loads(told("--alerts", "--json")) == alert_rules()
