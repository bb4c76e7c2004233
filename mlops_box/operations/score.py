"""Predict a whole file: contract at the door, chunk by chunk, resumable, published in one step.

Rows that break the contract are set aside, not predicted: beside the output lie ``NAME.quarantine.parquet`` (with the
rules they broke) and ``NAME.rejects.parquet`` (what could not be parsed). The output has the columns of the input that
passed, in the order of delivery, then the prediction columns. Progress lies in the scratch folder under a name made
from the input's bytes, the version and the contract: started again after a kill, the same call goes on where it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.canonical import digest_of
from mlops_box.errors import BoxError, BusyError, RefusedError, SourceError, StorageError, UsageError
from mlops_box.files import replace_whole, write_whole
from mlops_box.models.values import PACKED_FILE, ModelVersion
from mlops_box.operations.features.prepare import attachments_of
from mlops_box.operations.steps import RecordedSteps, Steps, recorded_run
from mlops_box.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_box.data.source import Located
    from mlops_box.project import RegisteredProject

CHUNK_ROWS = 50_000
MODEL_COLUMN = "model_version"


@dataclass(frozen=True)
class ScoreOutcome:
    """What was scored. ``rows_in == rows_scored + rows_quarantined + rows_rejected``.

    Attributes:
        quarantine: The file of rows that broke a rule; ``None`` when none did.
        rejects: The list of rows that could not be parsed; ``None`` when all could.
        rules: How many rows broke each rule.
        resumed_chunks: Chunks that an earlier, interrupted call had finished.
    """

    run_id: str
    model: str
    target: Path
    rows_in: int
    rows_scored: int
    rows_quarantined: int
    rows_rejected: int
    quarantine: Path | None
    rejects: Path | None
    rules: dict[str, int]
    resumed_chunks: int

    def to_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "target": str(self.target),
            "quarantine": str(self.quarantine) if self.quarantine else None,
            "rejects": str(self.rejects) if self.rejects else None,
        }


def score(
    box: Box,
    ref: str,
    *,
    source: Path,
    target: Path,
    steps: Steps | None = None,
    progress: Progress | None = None,
    trigger: str = "manual",
    flow_run_id: str | None = None,
) -> ScoreOutcome:
    """Predict every good row of ``source`` (whatever the data room reads) into ``target`` (.parquet or .csv).

    Raises:
        NotFoundError: No such model or version.
        SourceError: The file cannot be read or lacks a feature.
        UsageError: The target cannot be written as asked.
        RefusedError: No row passed the contract; nothing was written.
        BusyError: Another process is scoring the same file with the same version.
    """
    from mlops_box.data.source import locate

    version = box.models.get(ref)
    project = box.projects.for_model(version.model)
    _check_target(source, target)
    located = locate(str(source), folder=Path.cwd())
    work = box.home.scratch / f"score-{_work_key(located, version, project)}"
    params = {"model": version.ref, "source": str(source), "target": str(target)}
    with (
        _held(work),
        recorded_run(
            box, "score", version.project, trigger=trigger, params=params, flow_run_id=flow_run_id,
            steps=steps, progress=progress,
        ) as (run, recorded),
    ):  # fmt: skip
        sifted = recorded.run("contract", _sift, box, located, version, project, work)
        if sifted["rows_good"] == 0:
            raise RefusedError(
                f"none of the {sifted['rows_in']} rows of {source} passed the contract: {_counted(sifted['rules'])}",
                hint="mend the rows; nothing was written",
                details={"rules": sifted["rules"]},
            )
        resumed = recorded.run("predict", _predict_chunks, box, version, work, sifted, recorded)
        published = recorded.run("write", _publish, work, target, sifted)
        outcome = ScoreOutcome(
            run_id=run.id, model=version.ref, target=target, rows_in=sifted["rows_in"],
            rows_scored=sifted["rows_good"], rows_quarantined=sifted["rows_quarantined"],
            rows_rejected=sifted["rows_rejected"], quarantine=published.get("quarantine"),
            rejects=published.get("rejects"), rules=sifted["rules"], resumed_chunks=resumed,
        )  # fmt: skip
        box.runs.end(run.id, "completed", result=outcome.to_dict())
        shutil.rmtree(work, ignore_errors=True)
    return outcome


def _check_target(source: Path, target: Path) -> None:
    if target.suffix.lower() not in (".parquet", ".csv"):
        raise UsageError(
            f"{target} is neither .parquet nor .csv", hint="name the output NAME.parquet or NAME.csv"
        )
    if target.is_dir() or not target.parent.is_dir():
        raise UsageError(f"{target} cannot be written: its folder is missing, or it is one")
    if source.exists() and target.exists() and source.samefile(target):
        raise UsageError(f"{target} is the input itself", hint="choose another output file")
    if not os.access(target.parent, os.W_OK):
        raise StorageError(f"{target.parent} cannot be written to", hint="choose another --out")


def _work_key(located: Located, version: ModelVersion, project: RegisteredProject | None) -> str:
    return digest_of(
        {
            "files": [file.sha256 for file in located.files],
            "version": version.digest,
            "project": project.digest if project else None,
            "chunk": CHUNK_ROWS,
        }
    )[:24]


@contextlib.contextmanager
def _held(work: Path) -> Iterator[None]:
    """The work folder, for one process at a time."""
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                "another process is scoring this file with this version", hint="wait for it to end"
            ) from None
        try:
            yield
        except StorageError:
            raise
        except BoxError:
            # It would fail again in the same way: there is nothing to resume.
            shutil.rmtree(work, ignore_errors=True)
            raise


def _sift(
    box: Box, located: Located, version: ModelVersion, project: RegisteredProject | None, work: Path
) -> dict[str, Any]:
    """Take the input apart by the contract; the counts are written last and mark the step as done."""
    from mlops_box.data.contract import compile_contract
    from mlops_box.data.engine import engine
    from mlops_box.data.sift import sift
    from mlops_box.data.source import open_source, readable_files
    from mlops_box.features.attach import attach
    from mlops_box.project import Contract

    done = work / "sifted.json"
    if done.exists():
        found: dict[str, Any] = json.loads(done.read_text())
        return found
    data = project.declaration.data if project else None
    rules = data.contract.columns if data else {}
    features = [feature.name for feature in version.signature.features]
    joined = attachments_of(box, version.lineage, project, features, work) if project else None
    files = (*readable_files(located, work), *(joined.files if joined else ()))
    with engine(scratch=work, files=files) as connection:
        relation = open_source(
            connection,
            located,
            declared={column: rule.type for column, rule in rules.items()},
            query=data.query if data else None,
            table=data.table if data else None,
            scratch=work,
        )
        if joined is not None:
            relation = attach(connection, relation, joined)
        # The target is what is asked for: it may be absent, and is not judged. Columns beside the features are
        # judged where they are there.
        judged = {
            column: rule
            for column, rule in rules.items()
            if column in features or (column in relation.columns and column != version.signature.target)
        }
        for column in ("prediction", MODEL_COLUMN):
            if column in relation.columns:
                raise SourceError(f"the input has a column {column!r} already", hint="rename it")
        compiled = compile_contract(
            relation,
            Contract(columns=judged),
            key=[],
            time=None,
            required=dict.fromkeys(features, "a feature"),
        )
        result = sift(connection, relation, compiled, folder=work, key=[], metadata={})
    located.check_unchanged()
    facts = {
        "rows_in": result.rows_in, "rows_good": result.rows_good, "rows_quarantined": result.rows_quarantined,
        "rows_rejected": result.rows_rejected, "rules": {hit.rule: hit.rows for hit in result.row_rules},
    }  # fmt: skip
    write_whole(done, json.dumps(facts).encode())
    return facts


def _predict_chunks(
    box: Box, version: ModelVersion, work: Path, sifted: dict[str, Any], recorded: RecordedSteps
) -> int:
    """One Parquet file a chunk; returns how many were there already."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mlops_box.models.encode_tables import encode_table
    from mlops_box.models.runtime import OnnxModel

    model = OnnxModel(box.models.file(version, PACKED_FILE), version.signature, threads=os.cpu_count() or 1)
    resumed = 0
    chunks = -(-sifted["rows_good"] // CHUNK_ROWS)
    with pq.ParquetFile(work / "good.parquet") as file:
        for number, batch in enumerate(file.iter_batches(batch_size=CHUNK_ROWS)):
            path = work / f"chunk-{number:06d}.parquet"
            if path.exists():
                resumed += 1
            else:
                table = pa.Table.from_batches([batch])
                output = model.predict(encode_table(table, version.signature))
                sink = pa.BufferOutputStream()
                pq.write_table(_with_answers(table, output, version), sink)
                write_whole(path, sink.getvalue())
            recorded.progress.advance(0, note=f"{number + 1}/{chunks} chunks")
    return resumed


def _with_answers(table: pa.Table, output: Any, version: ModelVersion) -> pa.Table:
    import pyarrow as pa

    classes = version.signature.classes
    if classes is None:
        table = table.append_column("prediction", pa.array(output.prediction.astype("float64")))
    else:
        labels = pa.array(list(classes)).take(pa.array(output.label))
        table = table.append_column("prediction", labels)
        for index, value in enumerate(classes):
            name = f"probability_{str(value).lower() if isinstance(value, bool) else value}"
            if name in table.column_names:
                raise SourceError(f"the input has a column {name!r} already", hint="rename it")
            table = table.append_column(name, pa.array(output.probability[:, index].astype("float64")))
    return table.append_column(MODEL_COLUMN, pa.array([version.ref] * table.num_rows, pa.string()))


def _publish(work: Path, target: Path, sifted: dict[str, Any]) -> dict[str, Path]:
    """Put the output, and what was set aside, in place; each file appears whole."""
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    count = -(-sifted["rows_good"] // CHUNK_ROWS)
    chunks = [work / f"chunk-{number:06d}.parquet" for number in range(count)]
    schema = pq.read_schema(chunks[0])

    def write(path: Path) -> None:
        is_csv = target.suffix.lower() == ".csv"
        with pa_csv.CSVWriter(path, schema) if is_csv else pq.ParquetWriter(path, schema) as writer:
            for chunk in chunks:
                table = pq.read_table(chunk)
                writer.write_table(table)

    aside = {}
    for name, rows in (("quarantine", sifted["rows_quarantined"]), ("rejects", sifted["rows_rejected"])):
        place = target.with_name(f"{target.stem}.{name}.parquet")
        if rows:
            replace_whole(place, partial(shutil.copyfile, work / f"{name}.parquet"))
            aside[name] = place
        else:
            place.unlink(missing_ok=True)
    replace_whole(target, write)
    return aside


def _counted(rules: dict[str, int]) -> str:
    return ", ".join(f"{rule} ({rows})" for rule, rows in list(rules.items())[:5]) or "there was none"
