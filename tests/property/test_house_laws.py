"""Laws of the house that hold for any input."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_box.canonical import canonical_json, digest_of
from mlops_box.clock import SystemClock
from mlops_box.db import Database
from mlops_box.ledger import Ledger
from mlops_box.objects import ObjectStore
from mlops_box.project import BATCH_KEYS, LoadedProject, Project, parse_project
from mlops_box.units import format_duration, parse_duration

names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
columns = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00\x7f", exclude_categories=["Cc", "Cs"]),
    min_size=1,
    max_size=12,
)
durations = st.builds(
    lambda number, unit: f"{number}{unit}", st.integers(1, 5000), st.sampled_from(["ms", "s", "m", "h", "d"])
)
shares = st.one_of(st.floats(0, 1), st.integers(0, 100).map(lambda value: f"{value}%"))
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


rules = st.builds(
    lambda base, extra: base | extra,
    st.fixed_dictionaries(
        {"type": st.sampled_from(["boolean", "bigint", "double", "varchar", "timestamp", "date"])}
    ),
    some(
        null=st.booleans(),
        min=finite.filter(lambda value: value <= 0),
        max=finite.filter(lambda value: value >= 0),
        unique=st.booleans(),
        **{
            "in": st.lists(
                st.integers(-9, 9) | st.text("abc", max_size=3) | st.booleans(), min_size=1, max_size=3
            )
        },
    ),
)
contracts = st.builds(
    lambda direct, clashing, batch: direct | ({"columns": clashing} if clashing else {}) | batch,
    st.dictionaries(columns.filter(lambda name: name not in BATCH_KEYS), rules, max_size=4),
    st.dictionaries(st.sampled_from(BATCH_KEYS[:-1]), rules, max_size=2),
    some(
        rows=st.fixed_dictionaries({"min": st.integers(0, 9), "max": st.integers(9, 99)}),
        freshness=durations, quarantine=shares, null_rate_change=shares, new_categories=shares,
    ),
)  # fmt: skip
declarations = st.fixed_dictionaries(
    {
        "project": st.fixed_dictionaries(
            {"name": names}, optional={"description": st.text("abc ", max_size=9)}
        ),
        "data": st.fixed_dictionaries({"source": st.just("a.csv"), "contract": contracts}),
        "model": st.fixed_dictionaries(
            {
                "task": st.sampled_from(["regression", "binary", "multiclass"]),
                "target": st.just("the target"),
                "features": st.lists(
                    columns.filter(lambda name: name != "the target"), min_size=1, max_size=4, unique=True
                ),
            },
            optional={"seed": st.integers(0, 2**32 - 1), "name": names},
        ),
    },
    optional={
        "gates": st.dictionaries(
            st.sampled_from(["mae", "auc", "f1"]), st.fixed_dictionaries({"min": finite}), max_size=3
        ),
        "serve": some(
            latency=durations, max_rows=st.integers(1, 999), rollout=some(shadow=durations, step=durations)
        ),
        "monitor": some(window=durations, ground_truth_delay=durations, min_rows=st.integers(10, 999)),
        "retrain": some(mode=st.sampled_from(["off", "suggest", "auto"]), cooldown=durations),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(declarations)
def test_any_declaration_survives_the_file_and_the_database(raw: dict[str, Any]) -> None:
    project = parse_project(tomli_w.dumps(raw))
    stored = Project.model_validate_json(project.model_dump_json(by_alias=True))
    assert stored == project
    assert LoadedProject(Path(), stored).digest == LoadedProject(Path(), project).digest
    direct = {name for name in raw["data"]["contract"] if name not in BATCH_KEYS}
    assert set(project.data.contract.columns) == direct | set(raw["data"]["contract"].get("columns", {}))


@given(json_values)
def test_equal_values_have_equal_bytes_and_read_back(value: Any) -> None:
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text
    assert len(digest_of(value)) == 64


@given(st.integers(0, 10**10))
def test_any_duration_in_milliseconds_is_read_exactly(milliseconds: int) -> None:
    assert parse_duration(f"{milliseconds}ms") == timedelta(milliseconds=milliseconds)
    assert len(format_duration(milliseconds / 1000)) <= 9


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=4))
def test_what_is_put_is_what_is_read(tmp_path: Path, blobs: list[bytes]) -> None:
    db = Database(tmp_path / "box.db")
    (tmp_path / "objects").mkdir(exist_ok=True)
    store = ObjectStore(tmp_path / "objects", db, SystemClock())
    digests = [store.put_bytes(blob, kind="test") for blob in blobs]
    assert [store.read(digest) for digest in digests] == blobs
    assert len(set(digests)) == len(set(blobs))
    assert store.damaged() == []
    db.close()


FIELDS = ("at", "actor", "act", "subject", "facts", "prev", "hash")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_single_change_to_the_ledger_is_found_and_named(tmp_path: Path, data: st.DataObject) -> None:
    db, ledger, size = _ledger(tmp_path)
    seq = data.draw(st.integers(1, size), label="entry")
    field = data.draw(st.sampled_from(FIELDS), label="field")
    row = db.one("SELECT * FROM ledger WHERE seq = ?", (seq,))
    assert row is not None
    other = data.draw(st.text("0123456789abcdef{}:", min_size=1, max_size=70), label="other")
    changed = other != row[field]
    try:
        with db.write() as tx:
            tx.execute(f"UPDATE ledger SET {field} = ? WHERE seq = ?", (other, seq))
        broken = ledger.first_broken()
        assert (broken is not None) == changed
        if broken:
            assert broken[0] == seq
    finally:
        with db.write() as tx:
            tx.insert("ledger", row, replace=True)
        assert ledger.first_broken() is None
        db.close()


def _ledger(folder: Path) -> tuple[Database, Ledger, int]:
    db = Database(folder / "ledger.db")
    ledger = Ledger(db, SystemClock(), "tester")
    for number in range(6 - ledger.head()[0]):
        ledger.record("test.act", f"thing:{number}", {"number": number})
    return db, ledger, 6
