"""Feature definitions over small tables of events, for tests of the features room."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from mlops_box.data.values import Column, ColumnType
from mlops_box.features.definition import Definition, FeatureColumn, NamedSql, Source, digest_of_view
from mlops_box.project import ColumnRule, LoadedProject, load_project
from mlops_box.project.declared import Scalar

TX = Source(
    "tx", "tx.parquet", None, None, "happened_at", "arrived_at",
    (
        Column("card_id", "bigint"), Column("tx_id", "bigint"), Column("happened_at", "timestamp"),
        Column("arrived_at", "timestamp"), Column("amount", "double"),
    ),
)  # fmt: skip


def view_over(
    sql: str,
    features: dict[str, ColumnType],
    *,
    name: str = "activity",
    source: Source = TX,
    ttl: timedelta | None = None,
    lookback: timedelta | None = None,
    defaults: dict[str, Scalar] | None = None,
    ttls: dict[str, timedelta] | None = None,
    upstream: tuple[NamedSql, ...] = (),
) -> Definition:
    """A view of ``card_id`` over one source, with its digest, not registered."""
    columns = tuple(
        FeatureColumn(
            feature,
            kind,
            (ttls or {}).get(feature, ttl),
            (defaults or {}).get(feature),
            ColumnRule(type=kind, null=True),
        )
        for feature, kind in features.items()
    )
    draft = Definition(
        project="case", name=name, version=0, digest="", entity=(Column("card_id", "bigint"),), time="happened_at",
        ttl=ttl, lookback=lookback, columns=columns, sql=sql, sources=(source,), upstream=upstream,
    )  # fmt: skip
    return replace(draft, digest=digest_of_view(draft))


CARDS = """\
[project]
name = "cards"

[data]
source = "payments.csv"
time = "paid_at"
key = ["payment_id"]

[data.contract]
payment_id = { type = "bigint" }
card_id = { type = "bigint" }
paid_at = { type = "timestamp" }
amount = { type = "double", min = 0 }
fraud = { type = "boolean" }

[features.sources.tx]
source = "tx.csv"
time = "happened_at"
known = "arrived_at"

[features.views.activity]
sql = "features/activity.sql"
entity = ["card_id"]
time = "happened_at"
ttl = "2d"
lookback = "1h"
defaults = { n_1h = 0 }
owner = "fraud team"
description = "what a card did in the last hour"

[features.views.activity.columns.n_1h]
min = 0

[model]
task = "binary"
target = "fraud"
features = ["amount", "activity.n_1h", "activity.spend_1h"]
split = { by = "time", test = 0.3 }

[gates]
auc = { min = 0.6 }
"""
ACTIVITY = """\
select card_id, happened_at,
  count(*) over last_hour as n_1h,
  sum(amount) over last_hour as spend_1h
from tx
window last_hour as (
  partition by card_id order by happened_at range between interval 1 hour preceding and current row)
"""
CARDS_TRAIN = """
from sklearn.linear_model import LogisticRegression

def build(params):
    return LogisticRegression()
"""


def write_cards(folder: Path, *, payments: int = 300, seed: int = 0) -> LoadedProject:
    """Cards that pay; who made many payments within the hour before is a fraud. Every tenth event arrives late."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "features").mkdir()
    random = Random(seed)
    start = datetime(2026, 1, 1)
    events, rows = [], []
    for number in range(payments):
        card, moment = number % 20, start + timedelta(hours=2 * number)
        burst = random.randint(0, 6)
        for event in range(burst):
            happened = moment - timedelta(minutes=random.randint(1, 55))
            arrived = happened + timedelta(hours=3 if random.random() < 0.1 else 0)
            events.append(f"{card},{happened.isoformat()},{arrived.isoformat()},{10 + event}.5")
        rows.append(
            f"{number},{card},{moment.isoformat()},{random.randint(1, 90)}.0,{str(burst > 3).lower()}"
        )
    (folder / "tx.csv").write_text("\n".join(["card_id,happened_at,arrived_at,amount", *events]) + "\n")
    (folder / "payments.csv").write_text("\n".join(["payment_id,card_id,paid_at,amount,fraud", *rows]) + "\n")
    (folder / "mlops.toml").write_text(CARDS)
    (folder / "features" / "activity.sql").write_text(ACTIVITY)
    (folder / "train.py").write_text(CARDS_TRAIN)
    return load_project(folder)
