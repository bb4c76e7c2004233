"""Feature definitions over small tables of events, for tests of the features room."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from mlops_box.data.values import Column, ColumnType
from mlops_box.features.definition import Definition, FeatureColumn, NamedSql, Source, digest_of_view
from mlops_box.project import ColumnRule
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
            feature, kind, (ttls or {}).get(feature, ttl), (defaults or {}).get(feature), ColumnRule(type=kind, null=True)
        )
        for feature, kind in features.items()
    )
    draft = Definition(
        project="case", name=name, version=0, digest="", entity=(Column("card_id", "bigint"),), time="happened_at",
        ttl=ttl, lookback=lookback, columns=columns, sql=sql, sources=(source,), upstream=upstream,
    )  # fmt: skip
    return replace(draft, digest=digest_of_view(draft))
