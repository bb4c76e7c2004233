"""Why an alert stands and why a decision was made."""

from __future__ import annotations

from typing import Any

from mlops_box.box import Box
from mlops_box.clock import isoformat
from mlops_box.monitoring.alerts import Alert
from mlops_box.monitoring.budget import PAGE_OF
from mlops_box.monitoring.decisions import Decision
from mlops_box.monitoring.rate import FAR, RateFinding
from mlops_box.monitoring.values import FeatureFinding, Finding, QualityFinding, TestResult
from mlops_box.operations.decide import run_of
from mlops_box.operations.explanation import Explanation

_CALM_SHOWN = 6


def explain_alert(box: Box, alert_id: str) -> Explanation:
    """Evidence and limits of an alert, what would have kept it silent, and what followed."""
    alert = box.alerts.get(alert_id)
    lines = [f"alert {alert.id}: {alert.kind} of {alert.model}, {_state(alert)}", f"  {alert.title}"]
    if alert.note:
        lines.append(f"  note: {alert.note}")
    lines += _window(alert)
    lines += _persistence(alert)
    evidence, otherwise = _evidence(alert)
    if alert.finding.get("estimate"):
        evidence = [*evidence, str(alert.finding["estimate"]["text"])]
    lines += ["evidence", *_indent(evidence), "what would have changed it", *_indent(otherwise)]
    decisions = [item for item in box.decisions.list(model=alert.model) if item.alert_id == alert.id]
    followed = [f"decision {item.id}: {item.state}, {_outcome(item)}" for item in decisions]
    followed += _ends(box, alert)
    lines += ["what followed", *_indent(followed or ["nothing: no decision was made on it"])]
    facts = {
        "alert": alert.to_dict(),
        "decisions": [item.to_dict() for item in decisions],
        "otherwise": otherwise,
    }
    return Explanation("alert", alert.id, tuple(lines), facts)


def explain_decision(box: Box, decision_id: str) -> Explanation:
    """What was seen, what the policy said of it, what was done, and what would have changed it."""
    decision = box.decisions.get(decision_id)
    facts = decision.facts
    lines = [
        f"decision {decision.id}: {decision.act} {decision.model}, {decision.state}",
        f"  triggered by {decision.trigger}, decided {isoformat(decision.decided_at)} in mode {decision.mode}",
        "seen",
        f"  {facts.get('seen', '-')}",
        "reason",
        f"  {decision.reason}",
        "policy",
        f"  mode {facts.get('mode')}, on {', '.join(facts.get('on', [])) or 'nothing'}, "
        f"cooldown {facts.get('cooldown_s', 0):g}s, last retraining {facts.get('last_issued_at') or 'never'}",
        f"  budget {facts.get('budget') or 'none'}, quiet hours {facts.get('quiet') or 'none'}, "
        f"learns from {facts.get('window_text', 'all rows')}",
        "what would have changed it",
        f"  {facts.get('otherwise', '-')}",
        "what followed",
        *_indent(_followed(box, decision)),
    ]
    run = run_of(box, decision)
    told = {"decision": decision.to_dict(), "run": run.to_dict() if run else None}
    return Explanation("decision", decision.id, tuple(lines), told)


def finding_lines(finding: Finding) -> list[str]:
    """The columns of a window against its reference: those that drifted with all numbers, the others in one line."""
    lines = [
        f"{finding.rows} rows against {finding.rows_reference} of the reference; a column drifts when its effect is at "
        f"least {finding.effect:g} and its adjusted p at most {finding.fdr:.3g}",
        calibration_words(finding),
    ]
    calm: list[tuple[float, str]] = []
    for feature in finding.features:
        bad = [test for test in feature.tests if test.outcome == "drift"]
        lines += [f"{feature.name}: {_test_text(test)}{_effects(feature, test)}" for test in bad]
        if not bad:
            effect = max((test.effect or 0.0 for test in feature.tests), default=0.0)
            state = f"{effect:.3f}" if feature.outcome == "fine" else "cannot tell"
            calm.append((-effect, f"{feature.name} {state}"))
    if finding.joint is not None:
        lines.append(
            f"all columns together: {_test_text(finding.joint)} ({finding.joint.outcome.replace('_', ' ')})"
        )
    lines += [
        f"{name} is broken, and not called drifted: {fault.message}" for name, fault in finding.faults.items()
    ]
    if calm:
        shown = [text for _, text in sorted(calm)[:_CALM_SHOWN]]
        more = f" and {len(calm) - len(shown)} more" if len(calm) > len(shown) else ""
        lines.append(f"no drift: {', '.join(shown)}{more}")
    return lines


def calibration_words(finding: Finding) -> str:
    """What the limits of a finding rest on."""
    if finding.season:
        known = f"calibrated on {finding.windows} earlier windows ({finding.season})"
        return f"{known}, but not all of it: {finding.uncalibrated}" if finding.uncalibrated else known
    why = f": {finding.uncalibrated}" if finding.uncalibrated else ""
    return f"uncalibrated: another hour or season may count as drift{why}"


def drift_otherwise(finding: Finding) -> list[str]:
    """Which other limits, or which other data, would have led to another verdict."""
    if finding.outcome == "cannot_tell":
        return [f"{finding.min_rows} rows or more would have been judged"]
    sure = [
        test.effect
        for feature in finding.features
        for test in feature.tests
        if test.effect is not None and test.p_adjusted is not None and test.p_adjusted <= finding.fdr
    ]
    if finding.joint_drift and finding.joint is not None and finding.joint.effect is not None:
        sure.append(finding.joint.effect)
    if finding.outcome == "drift":
        strongest = max(sure)
        return [
            f"[monitor] effect above {strongest:.3f} would have called it fine (it is {finding.effect:g})"
            if strongest < 0.9995
            else "no effect limit below 1 would have called it fine: a column moved altogether",
            f"with fewer than {finding.min_rows} rows it would have said 'cannot tell'",
        ]
    if sure and max(sure) > 0:
        return [f"[monitor] effect at or below {max(sure):.3f} would have called it drift"]
    return ["no effect limit would have called it drift: no difference is sure"]


def _state(alert: Alert) -> str:
    since = f"{alert.state} since {isoformat(alert.opened_at)}, seen {alert.count} time{'s' if alert.count > 1 else ''}"
    if alert.resolved_at:
        return f"resolved {isoformat(alert.resolved_at)}, opened {isoformat(alert.opened_at)}, seen {alert.count} times"
    return since


def _window(alert: Alert) -> list[str]:
    window = alert.finding.get("window")
    if not window:
        return []
    still = "" if window.get("complete") else ", not over yet"
    return [
        f"window of {alert.model}@{alert.number}",
        f"  {window['starts_at']} to {window['ends_at']}, {window['rows']} rows{still}",
    ]


def _persistence(alert: Alert) -> list[str]:
    held = alert.finding.get("persistence")
    if not held:
        return []
    pages = "which pages" if held["pages"] else f"{held['page_at']} of {PAGE_OF} page"
    return [f"  {held['drifted']} of the newest {held['of']} judged windows drifted; {pages}"]


def _evidence(alert: Alert) -> tuple[list[str], list[str]]:
    body = alert.finding
    if alert.kind == "drift":
        finding = Finding.from_dict(body["drift"])
        return finding_lines(finding), drift_otherwise(finding)
    if alert.kind == "quality":
        return quality_lines(QualityFinding.from_dict(body["quality"]))
    if alert.kind == "data":
        return _data_evidence(body)
    if alert.kind == "device":
        troubles = [str(item["what"]) for item in body.get("troubles", [])]
        return troubles, ["a later report of the device: mlops-box edge devices show NAME"]
    if alert.kind == "parity":
        return _parity_evidence(alert.model, body)
    return _pipeline_evidence(body)


def quality_lines(quality: QualityFinding) -> tuple[list[str], list[str]]:
    """(evidence, what would have changed it) of a quality finding."""
    evidence = [quality.reason, f"ground truth for {quality.rows_with_truth} of {quality.rows} rows"]
    if quality.loss_low is not None and quality.loss_high is not None:
        evidence.append(f"95 % interval of the loss: {quality.loss_low:.0%} to {quality.loss_high:.0%}")
    others = ", ".join(f"{name} {value:.4g}" for name, value in sorted(quality.metrics.items()))
    if others:
        evidence.append(f"all metrics there: {others}")
    otherwise = []
    if quality.loss is not None and quality.outcome == "loss":
        otherwise.append(f"[monitor] quality above {quality.loss:.3f} (it is {quality.limit:g})")
        otherwise.append(
            f"with fewer than {quality.min_rows} rows with ground truth it would have said 'cannot tell'"
        )
    elif quality.loss is not None and quality.loss_low is not None and quality.loss_low > 0:
        otherwise.append(
            f"[monitor] quality below {quality.loss:.3f} (it is {quality.limit:g}) would have alarmed"
        )
    elif quality.outcome == "cannot_tell":
        otherwise.append(f"{quality.min_rows} rows with ground truth, or a clearer difference")
    else:
        otherwise.append("no limit: the loss may be chance")
    return evidence, otherwise


def _data_evidence(body: dict[str, Any]) -> tuple[list[str], list[str]]:
    evidence, otherwise = [], []
    if "data" in body:
        evidence.append(str(body["data"]["reason"]))
        otherwise.append("values in those columns as often as in the training data, and finite answers")
    if "rate" in body:
        rate = RateFinding(**body["rate"])
        evidence += _rate_evidence(rate)
        otherwise.append(f"{rate.low:.0f} to {rate.high:.0f} rows in that window")
    if "refusal" in body:
        refusal = body["refusal"]
        evidence.append(f"batch {refusal['id']} refused at {refusal['at']}")
        evidence += [f"  {message}" for message in refusal["broken"]]
        otherwise.append("a batch that keeps its contract: mlops-box check")
    return evidence, otherwise


def _rate_evidence(rate: RateFinding) -> list[str]:
    pages = "which pages" if rate.pages else f"{rate.page_at} of {PAGE_OF} page"
    return [
        f"window from {rate.starts_at}: {rate.reason}",
        f"  chance {rate.p:.2g} without anything being wrong, {rate.limit:.3g} is allowed; less than a factor of {FAR:g} never counts",
        f"  {rate.unusual} of the newest {rate.judged} judged windows had an unusual number of rows; {pages}",
    ]


def _pipeline_evidence(body: dict[str, Any]) -> tuple[list[str], list[str]]:
    evidence = [f"run {run['id']}: {run['kind']} {run['state']}" for run in body.get("runs", [])]
    return evidence, ["a later run of the same kind that ends well resolves it"]


def _parity_evidence(model: str, body: dict[str, Any]) -> tuple[list[str], list[str]]:
    evidence = [
        f"{column['column']}: {column['mismatches']} of {column['rows']} differ, by "
        + ", ".join(f"{cause} ({count})" for cause, count in column["causes"].items())
        for column in body["columns"]
    ]
    evidence += [f"  {one['id']}: {one['because']}" for one in body["examples"]]
    if body["blocks"]:
        evidence.append("no version that pins the same definition is promoted meanwhile")
    return evidence, [
        f"values that differ in {body['tolerance']:.3g} of the rows at most ([features.parity] tolerance)",
        f"mlops-box features parity {model} compares again; monitor resolves it once it passes",
    ]


def _test_text(test: TestResult) -> str:
    if test.p_adjusted is None:
        return test.message
    p = "p < 1e-12" if test.p_adjusted < 1e-12 else f"p {test.p_adjusted:.2g}"
    return f"{test.message}, {p}"


def _effects(feature: FeatureFinding, test: TestResult) -> str:
    if test.test == "missing":
        return ""
    parts = []
    for name, value in (("PSI", feature.psi), ("JS", feature.js), ("Wasserstein", feature.wasserstein)):
        if value is not None:
            parts.append(f"{name} {value:.3f}{' sd' if name == 'Wasserstein' else ''}")
    if feature.outside:
        parts.append(f"{feature.outside:.1%} outside the reference's range")
    if feature.new:
        parts.append(f"{feature.new:.1%} new values ({', '.join(feature.new_examples)})")
    return f" ({', '.join(parts)})" if parts else ""


def _ends(box: Box, alert: Alert) -> list[str]:
    return [
        f"resolved: {entry.facts.get('reason')}"
        for entry in box.ledger.entries(subject=f"alert:{alert.id}")
        if entry.act == "alert.resolved"
    ]


def _outcome(decision: Decision) -> str:
    text = decision.facts.get("text")
    version = decision.facts.get("version")
    if text:
        return f"{text}{f' ({version})' if version else ''}"
    return decision.reason


def _followed(box: Box, decision: Decision) -> list[str]:
    if decision.state == "withheld":
        return ["nothing was done"]
    if decision.state == "suggested":
        return [f"it waits: mlops-box decisions accept {decision.id}"]
    lines = []
    if decision.facts.get("accepted_by"):
        lines.append(f"accepted by {decision.facts['accepted_by']}")
    if decision.facts.get("waiting"):
        lines.append(f"not started yet: {decision.facts['waiting']}")
    run = run_of(box, decision)
    if run is not None:
        lines.append(f"run {run.id}: {run.state}")
    if decision.facts.get("text"):
        lines.append(str(decision.facts["text"]))
    version = decision.facts.get("version")
    if version:
        promoted = "became champion" if decision.facts.get("promoted") else _became(box, version)
        lines.append(f"{version} {promoted}")
    return lines or ["it has not been started yet: mlops-box monitor"]


def _became(box: Box, ref: str) -> str:
    """What happened to a version that was not champion at once."""
    found = next((item for item in box.rollouts.list(ref.partition("@")[0]) if item.ref == ref), None)
    if found is None:
        return "did not become champion"
    return f"went into rollout {found.id}: {found.state.replace('_', ' ')}, {found.reason}"


def _indent(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]
