"""Models and their versions as a person looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_box.box import Box
from mlops_box.db import Row
from mlops_box.errors import NotFoundError
from mlops_box.ids import parse_ref
from mlops_box.ledger import Entry
from mlops_box.models.store import CHAMPION
from mlops_box.models.values import CARD_FILE, GateResult, Signature
from mlops_box.operations.calibration import Calibration, stored_calibration
from mlops_box.operations.views.paging import Page, Query, Resource
from mlops_box.operations.views.reading import is_torn, mapping, moment, number, sequence
from mlops_box.operations.views.setbacks import Setback, newest_rollout, setback

# The metric shown where there is room for one, by task; the first that the version has.
HEADLINE = {
    "regression": ("mae", "rmse"),
    "binary": ("auc", "average_precision", "log_loss"),
    "multiclass": ("accuracy", "macro_f1", "log_loss"),
}


@dataclass(frozen=True)
class ModelRow:
    """One line of the models table. ``metric`` is (name, value) of the champion, else of the newest version.

    ``trend`` is that metric over the accepted versions, oldest first. ``setback`` tells of its newest rollout, where that
    ended badly and no champion was set since.
    """

    model: str
    project: str
    task: str
    versions: int
    rejected: int
    champion: int | None
    champion_since: datetime | None
    last_good: int | None
    newest: int
    newest_state: str
    newest_at: datetime | None
    open_alerts: int
    metric: tuple[str, float] | None
    trend: tuple[float, ...]
    setback: Setback | None


@dataclass(frozen=True)
class VersionRow:
    """One line of the versions table. ``gates_judged`` counts gates that could be judged; ``setback`` tells of its newest
    rollout, where that ended badly and it is not the champion."""

    model: str
    number: int
    state: str
    task: str
    aliases: tuple[str, ...]
    metric: tuple[str, float] | None
    gates_passed: int
    gates_judged: int
    gates: int
    size_bytes: int | None
    created_at: datetime | None
    created_by: str
    run_id: str | None
    snapshot_id: str
    setback: Setback | None

    @property
    def ref(self) -> str:
        return f"{self.model}@{self.number}"


@dataclass(frozen=True)
class VersionFile:
    """A file of a version; ``size_bytes`` is ``None`` when the object store does not know it."""

    name: str
    digest: str
    size_bytes: int | None


@dataclass(frozen=True)
class VersionDetail:
    """One version whole. ``baseline`` is the champion (or, for the champion, the one before it) to compare with.

    ``unreadable`` names what is stored of it and is torn: it is unknown, not absent.
    """

    row: VersionRow
    digest: str
    signature: Signature | None
    metrics: dict[str, float]
    baseline: tuple[str, dict[str, float]] | None
    gates: tuple[GateResult, ...]
    lineage: dict[str, Any]
    files: tuple[VersionFile, ...]
    calibration: Calibration
    card: str | None
    alerts: tuple[str, ...]
    acts: tuple[Entry, ...]
    unreadable: tuple[str, ...]


_VERSIONS = f"""
SELECT versions.*, {newest_rollout("rollouts.model = versions.model AND rollouts.number = versions.number")} AS rollout,
  (SELECT group_concat(alias, ' ') FROM (SELECT alias FROM aliases
     WHERE aliases.model = versions.model AND aliases.number = versions.number ORDER BY alias)) AS aliases,
  (SELECT size_bytes FROM objects
     WHERE objects.digest = json_extract(manifest, '$.files."model.onnx"')) AS size_bytes
FROM versions
"""


def _version(row: Row) -> VersionRow:
    gates = [gate for gate in sequence(row["gates"]) if isinstance(gate, dict)]
    judged = [gate for gate in gates if gate.get("passed") is not None]
    aliases = tuple((row["aliases"] or "").split())
    return VersionRow(
        model=row["model"], number=row["number"], state=row["state"], task=row["task"],
        aliases=aliases, metric=headline(row["task"], mapping(row["metrics"])),
        gates_passed=sum(gate["passed"] is True for gate in judged), gates_judged=len(judged), gates=len(gates),
        size_bytes=row["size_bytes"], created_at=moment(row["created_at"]), created_by=row["created_by"],
        run_id=row["run_id"], snapshot_id=row["snapshot_id"],
        setback=None if CHAMPION in aliases else setback(row["rollout"], champion_since=None),
    )  # fmt: skip


def headline(task: str, metrics: dict[str, Any]) -> tuple[str, float] | None:
    """The one metric to show for a task, with its name; ``None`` when it has none."""
    for name in (*HEADLINE.get(task, ()), *metrics):
        value = number(metrics.get(name))
        if value is not None:
            return name, value
    return None


VERSIONS: Resource[VersionRow] = Resource(
    select=_VERSIONS,
    build=_version,
    fields={
        "model": "model", "state": "state", "alias": "aliases", "run": "run_id", "snapshot": "snapshot_id",
        "by": "created_by", "number": "number",
    },
    text=("model || '@' || number", "state", "aliases", "created_by", "run_id"),
    order="model, number DESC",
    sorts={"number": "number", "created": "created_at", "state": "state", "size": "size_bytes"},
    problems="state = 'rejected'",
    scope="model",
)  # fmt: skip

_MODELS = f"""
SELECT {newest_rollout("rollouts.model = newest.model")} AS rollout, newest.model, newest.project, newest.task, newest.number AS newest, newest.state AS newest_state,
  newest.created_at AS newest_at, COALESCE(served.metrics, newest.metrics) AS metrics,
  champion.number AS champion, champion.since AS champion_since,
  (SELECT number FROM aliases WHERE aliases.model = newest.model AND alias = 'last_good') AS last_good,
  (SELECT COUNT(*) FROM versions WHERE versions.model = newest.model) AS versions,
  (SELECT COUNT(*) FROM versions WHERE versions.model = newest.model AND state = 'rejected') AS rejected,
  (SELECT COUNT(*) FROM alerts WHERE alerts.model = newest.model AND state = 'open') AS open_alerts,
  (SELECT json_group_array(json(metrics)) FROM (SELECT metrics FROM (SELECT number, metrics FROM versions
     WHERE versions.model = newest.model AND state = 'accepted' AND json_valid(metrics)
     ORDER BY number DESC LIMIT 12) ORDER BY number)) AS history
FROM versions AS newest
LEFT JOIN aliases AS champion ON champion.model = newest.model AND champion.alias = 'champion'
LEFT JOIN versions AS served ON served.model = newest.model AND served.number = champion.number
WHERE newest.number = (SELECT MAX(number) FROM versions WHERE versions.model = newest.model)
"""


def _model(row: Row) -> ModelRow:
    metric = headline(row["task"], mapping(row["metrics"]))
    past = [number(item.get(metric[0])) for item in sequence(row["history"])] if metric else []
    return ModelRow(
        model=row["model"], project=row["project"], task=row["task"], versions=row["versions"],
        rejected=row["rejected"], champion=row["champion"], champion_since=moment(row["champion_since"]),
        last_good=row["last_good"], newest=row["newest"], newest_state=row["newest_state"],
        newest_at=moment(row["newest_at"]), open_alerts=row["open_alerts"], metric=metric,
        trend=tuple(value for value in past if value is not None),
        setback=setback(row["rollout"], champion_since=moment(row["champion_since"])),
    )  # fmt: skip


MODELS: Resource[ModelRow] = Resource(
    select=_MODELS,
    build=_model,
    fields={"model": "model", "project": "project", "task": "task", "newest": "newest_state"},
    text=("model", "project", "task"),
    order="model",
    sorts={"model": "model", "newest": "newest_at", "versions": "versions", "alerts": "open_alerts"},
    problems="open_alerts > 0 OR newest_state = 'rejected' OR champion IS NULL",
)


def list_models(box: Box, query: Query) -> Page[ModelRow]:
    """A page of models, by name."""
    return MODELS.page(box, query)


def list_versions(box: Box, query: Query) -> Page[VersionRow]:
    """A page of versions, newest first; ``query.scope`` is the model."""
    return VERSIONS.page(box, query)


def version_detail(box: Box, ref: str) -> VersionDetail:
    """One version whole, by ``name@7`` or ``name@alias``.

    Raises:
        NotFoundError: There is none.
    """
    wanted = parse_ref(ref)
    row = box.db.one(
        f"SELECT * FROM ({_VERSIONS}) WHERE model = :model AND number = COALESCE(:number, "
        "(SELECT number FROM aliases WHERE model = :model AND alias = :alias))",
        {"model": wanted.name, "number": wanted.number, "alias": wanted.alias},
    )
    if row is None:
        raise NotFoundError(f"no version {ref}", hint=f"mlops-box models list {wanted.name}")
    version = _version(row)
    files = _files(box, mapping(row["manifest"]).get("files"))
    card = next((file.digest for file in files if file.name == CARD_FILE), None)
    return VersionDetail(
        row=version,
        digest=row["digest"],
        signature=_signature(row["signature"]),
        metrics=_metrics(row["metrics"]),
        baseline=_baseline(box, version),
        gates=tuple(_gate(item) for item in sequence(row["gates"]) if isinstance(item, dict)),
        lineage=mapping(row["lineage"]),
        files=files,
        calibration=stored_calibration(box, {file.name: file.digest for file in files}),
        card=str(box.objects.path(card)) if card and box.objects.exists(card) else None,
        alerts=tuple(
            found["id"]
            for found in box.db.read(
                "SELECT id FROM alerts WHERE model = ? AND number = ? ORDER BY updated_at DESC LIMIT 20",
                (version.model, version.number),
            )
        ),
        acts=tuple(reversed(box.ledger.entries(subject=f"version:{version.ref}"))),
        unreadable=tuple(name for name in ("metrics", "gates", "lineage", "manifest") if is_torn(row[name])),
    )


def _baseline(box: Box, version: VersionRow) -> tuple[str, dict[str, float]] | None:
    alias = "last_good" if "champion" in version.aliases else "champion"
    row = box.db.one(
        "SELECT versions.number, metrics FROM versions JOIN aliases USING (model, number) "
        "WHERE versions.model = ? AND alias = ? AND versions.number <> ?",
        (version.model, alias, version.number),
    )
    return (f"{alias} {row['number']}", _metrics(row["metrics"])) if row else None


def _metrics(text: str) -> dict[str, float]:
    found = {name: number(value) for name, value in mapping(text).items()}
    return {name: value for name, value in found.items() if value is not None}


def _files(box: Box, files: Any) -> tuple[VersionFile, ...]:
    if not isinstance(files, dict):
        return ()
    marks = ", ".join("?" * len(files))
    sizes = {
        row["digest"]: row["size_bytes"]
        for row in box.db.read(
            f"SELECT digest, size_bytes FROM objects WHERE digest IN ({marks})",
            [str(digest) for digest in files.values()],
        )
    }
    return tuple(
        VersionFile(name, str(digest), sizes.get(str(digest))) for name, digest in sorted(files.items())
    )


def _gate(item: dict[str, Any]) -> GateResult:
    passed = item.get("passed")
    return GateResult(
        name=str(item.get("name", "?")),
        passed=passed if isinstance(passed, bool) else None,
        message=str(item.get("message", "")),
        value=number(item.get("value")),
        limit=number(item.get("limit")),
    )


def _signature(text: str) -> Signature | None:
    try:
        return Signature.from_json(text)
    except (ValueError, KeyError, TypeError):
        return None
