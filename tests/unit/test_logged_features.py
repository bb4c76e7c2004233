"""What was looked up for a prediction is in its log, and in what the log becomes."""

from __future__ import annotations

from pathlib import Path

from mlops_box.models.signature import Feature, Signature
from mlops_box.serving.records import LoggedFeatures, LoggedRequest, PredictionBatch, PredictionIds
from mlops_box.serving.sealing import tables_of
from mlops_box.serving.segment_lines import SegmentReport, batch_line, header_line, read_segment

SEGMENT = "0" * 22
FEATURES = LoggedFeatures(
    {"cards": "d" * 64}, [{"card_id": 7}, {"card_id": 8}], [1_000_000, 2_000_000], 3_000_000,
    {"cards": [(900_000, 950_000), None]},
)  # fmt: skip


class _Signatures:
    def get(self, model: str, number: int) -> Signature:
        return Signature(
            "regression",
            "y",
            (Feature("amount", "numeric", "double"), Feature("cards__n", "numeric", "bigint")),
        )


def _written(folder: Path) -> Path:
    looked_up = LoggedRequest(
        [{"amount": 1.0, "cards__n": 3}, {"amount": 2.0, "cards__n": None}],
        "champion",
        0.5,
        "ok",
        features=FEATURES,
    )
    plain = LoggedRequest([{"amount": 4.0, "cards__n": 1}], "champion", 0.5, "ok")
    batch = PredictionBatch(
        "fraud", 1, 5_000_000, PredictionIds(SEGMENT, 0, 3), [looked_up, plain], [1.0, 2.0, 3.0], None, None
    )
    path = folder / "a.log"
    path.write_bytes(header_line(SEGMENT) + batch_line(batch))
    return path


def test_the_log_tells_the_definition_and_the_observation_behind_every_vector(tmp_path: Path) -> None:
    looked_up, plain = read_segment(_written(tmp_path), SegmentReport())

    assert looked_up.features is not None
    assert looked_up.features.definitions == FEATURES.definitions
    assert looked_up.features.entities == FEATURES.entities
    assert [found and tuple(found) for found in looked_up.features.observed["cards"]] == [
        (900_000, 950_000),
        None,
    ]
    assert plain.features is None


def test_sealed_predictions_have_columns_for_what_was_looked_up(tmp_path: Path) -> None:
    records = read_segment(_written(tmp_path), SegmentReport())
    table = tables_of(records, _Signatures())["fraud", "prediction"]  # type: ignore[arg-type]

    rows = table.to_pylist()
    assert [row["entity"] for row in rows] == ['{"card_id":7}', '{"card_id":8}', None]
    assert [row["definition:cards"] for row in rows] == ["d" * 64, "d" * 64, None]
    assert [row["feature:cards__n"] for row in rows] == [3.0, None, 1.0]
    assert [row["observed:cards"].timestamp() if row["observed:cards"] else None for row in rows] == [
        0.9,
        None,
        None,
    ]
    assert [row["known:cards"].timestamp() if row["known:cards"] else None for row in rows] == [
        0.95,
        None,
        None,
    ]
    assert [row["feature_time"].timestamp() if row["feature_time"] else None for row in rows] == [
        1.0,
        2.0,
        None,
    ]
    assert rows[0]["feature_seen"].timestamp() == 3.0
