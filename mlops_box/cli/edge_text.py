"""What ``mlops-box edge`` prints for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mlops_box.cli.common import printable, table
from mlops_box.operations.edge.bundle import BundleFacts
from mlops_box.operations.edge.export import ExportReport
from mlops_box.operations.edge.keys import KeyFacts
from mlops_box.operations.edge.simulate import Simulation
from mlops_box.units import format_duration, format_size

T = TypeVar("T")


def export_text(report: ExportReport) -> str:
    parts = [f"{name} {format_size(size)}" for name, size in report.sizes.items() if size and name != "whole"]
    parity = report.parity
    lines = [
        f"{report.path}: {report.version} for {report.request.target.name}, {report.request.kind}, "
        f"{format_size(report.sizes['whole'])} ({', '.join(parts)})",
        f"signed by {', '.join(report.key_ids)}; sha256 {report.sha256[:16]}",
        f"parity: largest difference {parity['max_abs_difference']:.2g} on {parity['rows']} rows",
    ]
    if report.int8 is not None:
        lines.append(f"{report.precision}: {report.int8.reason}")
    return "\n".join([*lines, *(f"note: {note}" for note in report.notes)])


def facts_text(facts: BundleFacts) -> str:
    if facts.verified_by is not None:
        trust = f"verified: every byte is under the signature of {facts.verified_by}"
    else:
        trust = f"NOT VERIFIED: it says it is signed by {printable(', '.join(facts.signers)) or 'nobody'}, which is not trusted here"
    lines = [
        f"{facts.path.name}: {facts.version}, {facts.kind}, format {facts.format}, {format_size(facts.size_bytes)}",
        trust,
        f"  for       {printable(facts.target or 'no device (an old format)')}",
        f"  task      {printable(facts.task)}, {facts.precision}",
        f"  version   {facts.version_digest[:16]}",
        f"  snapshot  {printable(facts.snapshot_id[:16])}",
        f"  epoch     {facts.epoch}",
    ]
    if facts.onnx:
        runtime = ", ".join(f"{name} {value}" for name, value in facts.onnx.items())
        lines.append(f"  runtime   {printable(runtime)}")
    lines += [f"  layer     {name} {digest[:16]}" for name, digest in (facts.layers or {}).items()]
    files = table(
        ["FILE", "SIZE"], [(name, format_size(size)) for name, size in facts.files.items()], empty=""
    )
    return "\n".join([*lines, "", files])


def simulation_text(done: Simulation) -> str:
    network = (
        "no network" if done.isolated else "network NOT cut off: this user may make no network namespace"
    )
    lines = [f"{done.version} on Python {done.python}, {network}"]
    shown = [
        ("bundle", format_size(done.bundle_bytes)),
        ("installed", _told(done.installed_bytes, format_size)),
        ("install", _told(done.install_s, format_duration)),
        ("cold start", _told(done.cold_start_s, lambda s: f"{s * 1000:.0f} ms from start to first answer")),
        ("", _told(done.server_start_s, lambda s: f"{s * 1000:.0f} ms of the server alone, best of three")),
        ("memory", _told(done.server_rss_bytes, lambda size: f"{format_size(size)} server RSS")),
        ("latency", _told(done.p50_ms, lambda ms: f"p50 {ms:.2f} ms, p99 {done.p99_ms:.2f} ms, {done.requests} requests")),
        ("confirmed", done.confirmed),
        ("update", _told(done.updated_to, lambda version: _update_text(version, done))),
        ("FAILED", done.failed),
    ]  # fmt: skip
    return "\n".join([*lines, *(f"  {name:<11}{value}" for name, value in shown if value)])


def _told(value: T | None, form: Callable[[T], str]) -> str | None:
    return None if value is None else form(value)


def _update_text(version: str, done: Simulation) -> str:
    took = format_duration(done.update_s or 0.0)
    return f"to {version} in {took}, {'without' if done.in_place else 'with'} a restart of the server"


def keys_text(facts: KeyFacts) -> str:
    lines = [("key", facts.key_id), ("public", facts.public_key), ("ssh", facts.allowed_signer)]
    lines += [("old", name) for name in facts.old] + [("revoked", name) for name in facts.revoked]
    return "\n".join(f"{name:<8}{value}" for name, value in lines)
