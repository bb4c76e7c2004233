"""Feature definitions: what is refused and where it is written, what a digest means, versions side by side."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mlops_box.box import Box
from mlops_box.errors import BoxError, ExitCode, NotFoundError, UsageError
from mlops_box.features.define import define
from mlops_box.features.definition import (
    Definition,
    definition_from_dict,
    definition_to_dict,
    digest_of_view,
)
from mlops_box.project import load_project, parse_project
from tests.feature_case import ACTIVITY, CARDS, view_over, write_cards

SELECT = "select card_id, happened_at, amount as a\n"
SQL = "features/activity.sql, line"


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cards")
    write_cards(folder / "cards", payments=60)
    return folder / "cards"


@pytest.fixture
def folder(cards: Path) -> Path:
    (cards / "mlops.toml").write_text(CARDS)
    (cards / "features/activity.sql").write_text(ACTIVITY)
    return cards


def test_a_view_is_defined_with_its_columns_and_what_is_declared_of_each(
    folder: Path, tmp_path: Path
) -> None:
    definition = define(load_project(folder), scratch=tmp_path).definitions["activity"]
    n, spend = definition.columns
    assert (n.name, n.type, n.ttl, n.default, n.rule.null, n.rule.min) == (
        "n_1h",
        "bigint",
        timedelta(days=2),
        0,
        False,
        0,
    )
    assert (spend.type, spend.default, spend.rule.null) == ("double", None, True)
    assert definition.source("tx").known == "arrived_at"
    assert definition.owner == "fraud team"
    assert definition_from_dict(definition_to_dict(definition)) == definition


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (SELECT + "from tx\nwhere amuont > 3", f'{SQL} 3: Referenced column "amuont" not found'),
        (SELECT + "from txx", f"{SQL} 2: there is no source or view 'txx'"),
        (SELECT + "from activity", f"{SQL} 2: views read each other in a ring: activity reads activity"),
        (SELECT + "from tx\nwhere happened_at < now()", f"{SQL} 3: now has another value in each run"),
        (SELECT + "from tx where\n random() < 0.5", f"{SQL} 3: random has another value"),
        (SELECT + "from tx\nwhere happened_at < current_timestamp", f"{SQL} 3: current_timestamp has another value"),
        (SELECT + "from tx where happened_at >\nago(interval 1 day)", f"{SQL} 3: ago has another value"),
        (SELECT + ", uuid() as u from tx", f"{SQL} 2: uuid has another value"),
        (SELECT + "from tx using sample 10%", "a sample is another one in each run"),
        (SELECT + "from tx;\ndelete from tx", f"{SQL} 3: a view may not delete"),
        ("copy tx to 'x.csv'", f"{SQL} 1: a view may not copy"),
        ("attach 'x.db'", f"{SQL} 1: a view may not attach"),
        ("install httpfs", f"{SQL} 1: a view may not load"),
        ("\n\n" + SELECT + "from read_csv('/etc/passwd')", f"{SQL} 4: read_csv() is not allowed"),
        (SELECT + "from '/etc/passwd'", f"{SQL} 2: it reads '/etc/passwd' itself"),
        (SELECT + "from duckdb_settings()", f"{SQL} 2: duckdb_settings() is not allowed"),
        (SELECT + "from main.tx", f"{SQL} 2: 'tx' is named with a schema"),
        (SELECT + "frm tx x y", f"{SQL} 2: syntax error"),
        ("-- nothing", f"{SQL} 1: there is no SQL"),
        ("select 1 as card_id, 2 as happened_at, 3 as a", f"{SQL} 1: it reads no source"),
        ("select card_id, amount as a from tx", "line 24: the SQL of view 'activity' returns no column 'happened_at'"),
        ("select happened_at, amount as a from tx", "line 23: the SQL of view 'activity' returns no column 'card_id'"),
        ("select card_id, amount as happened_at, 1 as n_1h from tx", "is DOUBLE, no time"),
        ("select card_id, happened_at from tx", f"{SQL} 1: it returns no feature"),
        ("select card_id, happened_at, [amount] as n_1h from tx", "feature 'n_1h' is DOUBLE[]"),
        ("select card_id, happened_at, amount as known, 1 as n_1h from tx", "may not be called 'known'"),
        ("select card_id, happened_at, amount as a from tx", "line 27: view 'activity' has no feature 'n_1h'"),
        ("select card_id, happened_at, 'x' as n_1h from tx", "line 27: the default of 'n_1h' is no varchar"),
        ("select card_id, happened_at, sum(amount) over () as n_1h from tx", "is not per entity: n_1h of card_id = "),
        ("select card_id, happened_at, max(amount) over (partition by card_id) as n_1h from tx", "looks ahead: n_1h of"),
        (
            "select card_id, happened_at, count(*) over (partition by card_id order by happened_at) as n_1h from tx",
            "looks further back than its lookback: n_1h of",
        ),
        (
            "select card_id, date_trunc('day', happened_at) as happened_at,\nrow_number() over (partition by card_id, "
            "date_trunc('day', happened_at)) as n_1h,\nfirst(amount) over (partition by card_id, "
            "date_trunc('day', happened_at)) as x from tx",
            "looks ahead",
        ),
    ],
)  # fmt: skip
def test_a_bad_definition_gives_one_error_with_file_and_line(
    folder: Path, tmp_path: Path, sql: str, said: str
) -> None:
    (folder / "features/activity.sql").write_text(sql)
    with pytest.raises(BoxError) as caught:
        define(load_project(folder), scratch=tmp_path)
    assert said in caught.value.message
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('time = "happened_at"\nknown', 'time = "hapened_at"\nknown', "mlops.toml, line 18: the data has no column 'hapened_at'"),
        ('time = "happened_at"\nknown', 'time = "amount"\nknown', "mlops.toml, line 18: "),
        ('source = "tx.csv"\ntime = "happened_at"\n', 'source = "tx.csv"\n', "features.sources.tx.time' is missing"),
        ('source = "tx.csv"', 'source = "gone.csv"', "there is no file"),
        ('entity = ["card_id"]', 'entity = ["shop_id"]', "mlops.toml, line 23: source 'tx': the data has no column 'shop_id'"),
        ('sql = "features/activity.sql"', 'sql = "features/none.sql"', "none.sql cannot be read"),
        ('sql = "features/activity.sql"', 'sql = "../activity.sql"', "which lies outside the project"),
        ('sql = "features/activity.sql"', 'sqll = "x"', "unknown key 'features.views.activity.sqll'"),
        ("features.views.activity", 'features.views."a.b"', "'a.b' cannot name a source or a view"),
        ("features.views.activity", "features.views.a__b", "cannot name a source or a view"),
        ("features.views.activity", "features.views.tx", "names both a source and a view"),
    ],
)  # fmt: skip
def test_a_bad_declaration_gives_one_error(
    folder: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    (folder / "mlops.toml").write_text(CARDS.replace(old, new))
    with pytest.raises(UsageError) as caught:
        define(load_project(folder), scratch=tmp_path)
    assert said in caught.value.message


def test_a_view_may_read_views_but_not_itself_through_others(folder: Path, tmp_path: Path) -> None:
    ratio = '\n[features.views.ratio]\nsql = """\nselect card_id, happened_at, spend_1h / n_1h as mean from activity"""\nentity = ["card_id"]\ntime = "happened_at"\n'
    (folder / "mlops.toml").write_text(CARDS + ratio)
    found = define(load_project(folder), scratch=tmp_path).definitions
    assert list(found) == ["activity", "ratio"]
    assert [view.name for view in found["ratio"].upstream] == ["activity"]
    (folder / "features/activity.sql").write_text(SELECT + "from ratio")
    with pytest.raises(
        UsageError, match="ratio reads activity reads ratio|activity reads ratio reads activity"
    ):
        define(load_project(folder), scratch=tmp_path)
    (folder / "features/activity.sql").write_text(ACTIVITY)
    (folder / "mlops.toml").write_text(CARDS + ratio.replace("spend_1h /", "spend /"))
    with pytest.raises(UsageError, match=r'mlops.toml, line 4\d: Referenced column "spend" not found'):
        define(load_project(folder), scratch=tmp_path)


def test_a_file_may_declare_its_view_itself(folder: Path, tmp_path: Path) -> None:
    header = (
        "-- entity: card_id\n-- time: happened_at\n-- ttl: 2d\n-- lookback: 1h\n-- defaults: { n_1h = 0 }\n"
    )
    declared = CARDS.split("[features.views.activity]")[0] + "[model]" + CARDS.split("[model]")[1]
    (folder / "mlops.toml").write_text(declared)
    (folder / "features/activity.sql").write_text(header + ACTIVITY)
    inside = define(load_project(folder), scratch=tmp_path).definitions["activity"]
    (folder / "mlops.toml").write_text(CARDS)
    (folder / "features/activity.sql").write_text(ACTIVITY)
    assert define(load_project(folder), scratch=tmp_path).definitions["activity"].digest == inside.digest
    (folder / "mlops.toml").write_text(declared)
    for wrong, said in (
        ("-- ttll: 2d\n", "line 2: unknown key 'ttll'"),
        ("-- ttl: soon\n", "line 2: ttl: 'soon' is no duration"),
        ("", "line 1: time: is missing"),
    ):
        (folder / "features/activity.sql").write_text("-- entity: card_id\n" + wrong + ACTIVITY)
        with pytest.raises(UsageError, match=said):
            load_project(folder)


def test_the_digest_changes_with_the_meaning_and_not_with_the_spelling() -> None:
    def digest(sql: str = "select card_id, happened_at, amount as a from tx", **changes: object) -> str:
        return digest_of_view(replace(view_over(sql, {"a": "double"}), **changes))  # type: ignore[arg-type]

    first = digest()
    assert digest("select  card_id, happened_at,\n amount as a -- why\nfrom tx;") == first
    assert digest(owner="somebody", description="else", version=7) == first
    assert digest("select card_id, happened_at, amount  as b from tx") != first
    for change in (
        {"ttl": timedelta(hours=1)},
        {"lookback": timedelta(hours=1)},
        {"time": "t"},
        {"name": "other"},
    ):
        assert digest(**change) != first


def test_versions_stand_side_by_side_and_the_ledger_tells_of_each(tmp_path: Path) -> None:
    def view(sql: str, **changes: object) -> Definition:
        draft = replace(view_over(sql, {"a": "double"}), **changes)  # type: ignore[arg-type]
        return replace(draft, digest=digest_of_view(draft))

    one = view("select card_id, happened_at, amount as a from tx")
    two = view("select card_id, happened_at, 2 * amount as a from tx")
    with Box.open(tmp_path / "box") as box:
        first, second = box.features.register(one), box.features.register(two)
        assert (first.version, second.version) == (1, 2)
        assert box.features.register(one) == first
        assert box.features.get("activity") == second
        assert (
            box.features.get("activity", digest=one.digest)
            == box.features.get("activity", version=1)
            == first
        )
        assert box.features.pinned({"features": {"activity": one.digest}}) == {"activity": first}
        assert box.features.register(replace(one, owner="new")).version == 1
        assert box.features.get("activity", version=1).owner == "new"
        acts = [entry.act for entry in box.ledger.entries()]
        assert acts == ["feature.describe", "feature.define", "feature.define"]
        with pytest.raises(UsageError, match="belongs to project 'case'"):
            box.features.register(replace(one, project="other"))
        with pytest.raises(NotFoundError, match="no version 9"):
            box.features.get("activity", version=9)
        with pytest.raises(NotFoundError) as unknown:
            box.features.get("activty")
        assert unknown.value.hint == "did you mean 'activity'?"


def test_a_key_of_an_entity_can_be_redacted_whether_it_has_a_rule_or_not() -> None:
    ruled = CARDS + '\n[serve]\nredact = ["card_id"]\n'
    for text in (ruled, ruled.replace('card_id = { type = "bigint" }\n', "")):
        assert parse_project(text).serve.redact == ["card_id"]
