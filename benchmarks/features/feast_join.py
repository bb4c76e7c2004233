"""The same join by Feast's local store, in its own environment: ``python feast_join.py FOLDER VIEWS STORE``.

Prints one JSON line: wall and processor seconds of ``get_historical_features(...).to_df()``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64, Int64
from feast.value_type import ValueType

CONFIG = """
project: bench
registry: {folder}/registry.db
provider: local
offline_store: {{type: {store}}}
online_store: {{type: sqlite, path: {folder}/online.db}}
entity_key_serialization_version: 3
"""


def main() -> None:
    folder, views, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    with tempfile.TemporaryDirectory() as repo:
        (Path(repo) / "feature_store.yaml").write_text(CONFIG.format(folder=repo, store=kind))
        store = FeatureStore(repo_path=repo)
        card = Entity(name="card", join_keys=["card_id"], value_type=ValueType.INT64)
        found = [
            FeatureView(
                name=f"view{number}", entities=[card], ttl=timedelta(days=7),
                schema=[Field(name="spend", dtype=Float64), Field(name="n", dtype=Int64)],
                source=FileSource(path=str(folder / f"view{number}.parquet"), timestamp_field="time"),
            )
            for number in range(views)
        ]  # fmt: skip
        store.apply([card, *found])
        entities = pq.read_table(folder / "entities.parquet").to_pandas()
        entities = entities.rename(columns={"asked_at": "event_timestamp"})
        entities["event_timestamp"] = pd.to_datetime(entities["event_timestamp"], utc=True)
        features = [f"view{number}:{name}" for number in range(views) for name in ("spend", "n")]
        wall, used = time.perf_counter(), time.process_time()
        frame = store.get_historical_features(
            entity_df=entities, features=features, full_feature_names=True
        ).to_df()
        told = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - used, "rows": len(frame)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
