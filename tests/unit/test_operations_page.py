"""docs/operations.md says what the server does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from mlops_box_services.access_log import FIELDS, MAX_LINES
from mlops_box_services.observing import DRAIN_EVERY_S
from mlops_box_services.tracing import asks_for_traces

from mlops_box.errors import BoxError
from mlops_box.operations.dashboard.panels import CALLERS_FAULT
from mlops_box.operations.supervisor.logfiles import KEPT, MAX_BYTES
from mlops_box.project import parse_project
from mlops_box.serving.metric_table import TABLE
from mlops_box.serving.metrics import FORGET_AFTER_S, MAX_VERSIONS
from tests.integration.serving_kit import RATE_PROJECT

PAGE = Path(__file__).parents[2] / "docs/operations.md"
TEXT = PAGE.read_text(encoding="utf-8")


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[number]


def test_the_lines_keys_are_those_of_the_access_log() -> None:
    section = TEXT.partition("## Access log")[2].partition("## Traces")[0]
    named = [
        name
        for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    ]
    assert tuple(named) == FIELDS
    assert tuple(json.loads(block("json"))) == FIELDS


def test_every_metric_that_is_named_exists() -> None:
    samples = {metric.sample for metric in TABLE}
    assert set(re.findall(r"mlops_box_\w+", TEXT)) <= samples


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"{FORGET_AFTER_S / 60:.0f} minutes" in TEXT
    assert f"beyond {MAX_VERSIONS} versions" in TEXT
    assert f"{MAX_LINES:,} lines" in TEXT
    assert f"up to {DRAIN_EVERY_S * 1000:.0f} ms" in TEXT
    assert f"{MAX_BYTES // 2**20} MiB" in TEXT
    assert KEPT == 3


def test_every_outcome_that_is_the_callers_is_named() -> None:
    section = TEXT.partition("**What a request's outcome means.**")[2].partition("##")[0]
    assert {code for code in CALLERS_FAULT if not code.startswith("feedback_")} <= set(
        re.findall(r"`(\w+)`", section)
    )


def test_the_examples_are_valid() -> None:
    assert yaml.safe_load(block("yaml"))["scrape_configs"][0]["job_name"] == "mlops-box"
    endpoint = re.search(r"(OTEL_EXPORTER_OTLP_ENDPOINT)=(\S+)", TEXT)
    assert endpoint is not None
    assert asks_for_traces({endpoint[1]: endpoint[2]})
    serve, model = block("toml").split("[model]")
    declared = parse_project(RATE_PROJECT.replace("[model]\n", f"[model]\n{model}\n") + serve)
    assert (declared.serve.device, declared.model.device) == ("cuda", "cuda")
    for word in ("auto", "cpu"):
        assert parse_project(f'{RATE_PROJECT}[serve]\ndevice = "{word}"\n').serve.device == word
    with pytest.raises(BoxError):
        parse_project(f'{RATE_PROJECT}[serve]\ndevice = "tpu"\n')


def test_no_link_is_dead() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (PAGE.parent / target).exists(), target
