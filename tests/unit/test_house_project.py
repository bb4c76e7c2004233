"""mlops.toml: every key is read, every mistake is named with file, line and key."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest

from mlops_box.clock import SystemClock
from mlops_box.db import Database
from mlops_box.errors import NotFoundError, ProjectError, UsageError
from mlops_box.ledger import Ledger
from mlops_box.project import (
    LoadedProject,
    Project,
    ProjectRegistry,
    json_schema,
    load_project,
    parse_project,
)

WHOLE = """\
[project]
name = "bike-rentals"
description = "hourly rentals"

[data]
source = "data/hour.csv"
table = "hours"
query = "select * from source"
time = "at"
key = ["at"]

[data.contract]
hum = { type = "double", min = 0, max = 1, null = true }
weathersit = { type = "bigint", in = [1, 2, 3, 4] }
"plate no" = { type = "varchar", regex = "[A-Z]+", unique = true }
at = { type = "timestamp", min = "2011-01-01" }
rows = { min = 1000, max = 2000 }
freshness = "400d"
quarantine = "1%"
null_rate_change = 0.2
new_categories = "5%"

[data.contract.columns]
rows = { type = "bigint" }

[model]
name = "bikes"
task = "regression"
target = "cnt"
features = ["hum", "weathersit"]
categorical = ["weathersit"]
train = "train.py:build"
params = { depth = 6 }
device = "cpu"
seed = 7
split = { by = "key", test = 0.25, key = "at" }

[model.preprocess]
numeric = { impute = "mean", scale = "none" }
categorical = { min_count = 5, max_values = 50 }

[features.sources.tx]
source = "data/tx.parquet"
table = "tx"
query = "select * from source"
time = "happened_at"
known = "arrived_at"
types = { amount = "double" }

[features.views.card_activity]
sql = "select card_id, happened_at, amount from tx"
file = "features/card_activity.sql"
entity = ["card_id"]
time = "happened_at"
ttl = "7d"
lookback = "1d"
defaults = { n_1h = 0 }
owner = "fraud team"
description = "what a card did lately"

[features.views.card_activity.columns.amount]
ttl = "1h"
default = 0.0
null = true
min = 0
max = 10000
in = [0, 1]

[gates]
approval = "required"
approval_expires = "3d"
mae = { max = 70 }
champion = { metric = "mae", margin = 0.5 }
slice = { by = "workingday", metric = "mae", max_ratio = 1.5, min_rows = 10 }

[gates.metrics]
slice = { min = 0.1 }

[serve]
latency = "10ms"
max_rows = 500
max_queued = 20000
log_sample = "50%"
redact = ["hum"]
device = "cpu"
log = "best-effort"

[serve.rollout]
shadow = "10m"
canary = [5, 25, 50]
step = "10m"
key = "weathersit"
min_requests = 300
max_duration = "2d"
cooldown = "2h"
timeout = "500ms"
limits = { errors = "1%", latency = 2.0, predictions = 0.2, disagreement = "30%" }

[monitor]
window = "1h"
ground_truth_delay = "1d"
min_rows = 100
effect = 0.2
false_alarms = "1/week"
fdr = 0.05
quality = 0.1

[retrain]
mode = "auto"
modes = { quality = "suggest" }
on = ["drift", "rows:5000", "age:30d"]
cooldown = "12h"
budget = "2/week"
quiet = "22:00-06:00"
window = "sliding:90d"

[notify]
targets = ["env:OPS_URL", "json://localhost:8080"]
least = "error"
digest = "5m"
limit = "10/day"
remind = "12h"

[schedule]
train = "0 3 * * *"
monitor = "*/10 * * * *"
materialize = "15 * * * *"
housekeeping = "30 2 * * *"

[edge]
epoch = 2
log_size = "20MB"
log_sample = "10%"
redact = []
memory = "128MB"
max_rows = 64
silent_after = "3d"

[features.parity]
tolerance = "0.1%"
precision = 1e-6
sample = "20%"
window = "6h"
block = true
"""


def test_every_key_is_read() -> None:
    project = parse_project(WHOLE)
    contract = project.data.contract
    assert project.model_name == "bikes"
    assert set(contract.columns) == {"hum", "weathersit", "plate no", "at", "rows"}
    assert contract.rows.min == 1000
    assert contract.freshness == timedelta(days=400)
    assert contract.quarantine == 0.01
    assert contract.columns["weathersit"].in_ == [1, 2, 3, 4]
    assert set(project.gates.metrics) == {"mae", "slice"}
    assert project.gates.slice[0].max_ratio == 1.5
    assert project.serve.rollout.canary == [5, 25, 50]
    assert project.serve.latency == timedelta(milliseconds=10)
    assert project.monitor.window == timedelta(hours=1)
    assert project.schedule.monitor == "*/10 * * * *"


def test_the_whole_example_names_every_key_there_is() -> None:
    """Keeps WHOLE honest: a new key must be added to it, and so is tested."""

    def missing(value: object, path: str) -> list[str]:
        from pydantic import BaseModel

        if isinstance(value, BaseModel):
            unset = [
                f"{path}.{name}" for name in type(value).model_fields if name not in value.model_fields_set
            ]
            inner = [(f"{path}.{name}", getattr(value, name)) for name in value.model_fields_set]
        elif isinstance(value, dict):
            unset, inner = [], []
        else:
            return []
        return unset + [key for name, item in inner for key in missing(item, name)]

    assert missing(parse_project(WHOLE), "") == []


def test_a_declaration_survives_being_stored() -> None:
    project = parse_project(WHOLE)
    again = Project.model_validate_json(project.model_dump_json(by_alias=True))
    assert again == project
    assert LoadedProject(Path(), again).digest == LoadedProject(Path(), project).digest


def test_the_digest_changes_with_the_meaning_and_not_with_the_spelling() -> None:
    first = LoadedProject(Path(), parse_project(WHOLE)).digest
    spelled = WHOLE.replace('"400d"', '"9600h"').replace('"1%"', "0.01") + "\n# a comment\n"
    assert LoadedProject(Path(), parse_project(spelled)).digest == first
    assert LoadedProject(Path(), parse_project(WHOLE.replace("max = 70", "max = 71"))).digest != first


def test_the_schema_for_editors_accepts_what_we_accept() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(tomllib.loads(WHOLE))) == []
    listed = WHOLE.replace("slice = { by", "slice = [{ by").replace("min_rows = 10 }", "min_rows = 10 }]")
    assert parse_project(listed) == parse_project(WHOLE)
    assert list(validator.iter_errors(tomllib.loads(listed))) == []
    assert schema["title"] == "mlops.toml"
    for wrong in ('freshness = "soon"', "freshness = 400", "quarantine = 2"):
        key = wrong.split(" ")[0]
        bad = re.sub(rf"^{key} = .*$", wrong, WHOLE, flags=re.M)
        assert list(validator.iter_errors(tomllib.loads(bad))), wrong


# (what is replaced, by what, what the message says, what the hint says). "its line" is where the replacement stands.
BROKEN: list[tuple[str, str, list[str], str]] = [
    ("[project]", "[project", ["no valid TOML", "at line 1,"], "toml.io"),
    ('name = "bikes"', 'name = "bikes', ["no valid TOML", "its line"], "toml.io"),
    ("seed = 7", "seed = 7\nseed = 8", ["no valid TOML"], "toml.io"),
    ("[monitor]", "[moniter]", ["its line", "unknown key 'moniter'"], "did you mean 'monitor'?"),
    ("seed = 7", "sead = 7", ["its line", "unknown key 'model.sead'"], "did you mean 'seed'?"),
    ("window =", "windows =", ["its line", "unknown key 'monitor.windows'"], "did you mean 'window'?"),
    ("freshness =", "freshnes =", ["its line", "unknown key 'data.contract.freshnes'"], "did you mean 'freshness'?"),
    ("quarantine =", "quarantene =", ["its line", "unknown key"], "did you mean 'quarantine'?"),
    ("min = 0, max = 1", "mim = 0", ["its line", "unknown key 'data.contract.hum.mim'"], "did you mean 'min'?"),
    ("shadow =", "shaddow =", ["its line", "unknown key 'serve.rollout.shaddow'"], "did you mean 'shadow'?"),
    ('margin = 0.5', 'margins = 0.5', ["its line", "unknown key 'gates.champion.margins'"], "did you mean 'margin'?"),
    ('min_rows = 10 }', 'minrows = 10 }', ["its line", "minrows"], "did you mean 'min_rows'?"),
    ("mae = { max = 70 }", "mae = 70", ["its line", "gates.mae must be a table"], "mae = { max = 70 }"),
    ("mae = { max = 70 }", "mae = {}", ["its line", "gates.mae", "say min or max"], "schema"),
    ("mae = { max = 70 }", "mae = { min = 9, max = 7 }", ["its line", "min 9 is above max 7"], "schema"),
    ('hum = { type = "double", ', "hum = { ", ["its line", "'data.contract.hum.type' is missing"], "add type to"),
    ('hum = { type = "double"', 'hum = { type = "float"', ["its line", "data.contract.hum.type", '"float"'], "schema"),
    ("min = 0, max = 1", "min = 2, max = 1", ["its line", "min 2 is above max 1"], "schema"),
    ("in = [1, 2, 3, 4]", "in = []", ["its line", "empty list"], "schema"),
    ('regex = "[A-Z]+"', 'regex = "[A-Z"', ["its line", "no regular expression"], "schema"),
    ("min = 1000, max = 2000", "min = 3000, max = 2000", ["its line", "rows", "above max"], "schema"),
    ('freshness = "400d"', "freshness = 400", ["its line", "freshness", "400 is no duration", "7d"], "schema"),
    ('freshness = "400d"', 'freshness = "99999999999999w"', ["its line", "calendar"], "schema"),
    ('quarantine = "1%"', 'quarantine = "101%"', ["its line", "outside 0% to 100%"], "schema"),
    ('quarantine = "1%"', "quarantine = [1]", ["its line", "no share"], "schema"),
    ('name = "bike-rentals"', 'name = "../etc"', ["its line", "project.name", '"../etc"'], "schema"),
    ('name = "bike-rentals"\n', "", ["line of [project]", "'project.name' is missing"], "add name to [project]"),
    ('source = "data/hour.csv"\n', "", ["line of [data]", "'data.source' is missing"], "add source to [data]"),
    ('task = "regression"', 'task = "regresion"', ["its line", "model.task", '"regresion"'], "schema"),
    ('features = ["hum"', 'features = ["hum", "cnt"', ["line of [model]", "read the answer"], "schema"),
    ('features = ["hum"', 'features = ["hum", "hum"', ["line of [model]", "named twice: hum"], "schema"),
    ('features = ["hum", "weathersit"]', "features = []", ["its line", "model.features"], "schema"),
    ('categorical = ["weathersit"]', 'categorical = ["x"]', ["line of [model]", "'x', which is no feature"], "schema"),
    ('"train.py:build"', '"../train.py:build"', ["its line", "inside the project's folder"], "schema"),
    ('"train.py:build"', '"train.py"', ["its line", "file.py:function"], "schema"),
    ("seed = 7", "seed = -7", ["its line", "model.seed", "-7"], "schema"),
    ('split = { by = "key", test = 0.25, key = "at" }', 'split = { by = "key" }', ["its line", "needs key"], "schema"),
    ("test = 0.25", "test = 1.5", ["its line", "model.split.test"], "schema"),
    ("canary = [5, 25, 50]", "canary = [5, 250]", ["its line", "serve.rollout.canary"], "schema"),
    ("canary = [5, 25, 50]", "canary = [25, 5]", ["its line", "do not grow"], "schema"),
    ('max_duration = "2d"', 'max_duration = "20m"', ["line of [serve.rollout]", "longer than all stages"], "schema"),
    ('key = "weathersit"\nmin_requests', 'key = "user"\nmin_requests', ["'user', which is no column"], "schema"),
    ('window = "1h"', 'window = "0s"', ["its line", "longer than nothing"], "schema"),
    ('"rows:5000"', '"rows:many"', ["its line", "no trigger"], "schema"),
    ('mode = "auto"', 'mode = "always"', ["its line", "retrain.mode"], "schema"),
    ('"2/week"', '"often"', ["its line", "retrain.budget"], "schema"),
    ('"sliding:90d"', '"newest"', ["its line", "retrain.window"], "schema"),
    ('"0 3 * * *"', '"every night"', ["its line", "no cron expression"], "schema"),
    ('log = "best-effort"', "log = true", ["its line", "serve.log"], "schema"),
    ('log_size = "20MB"', 'log_size = "20MiB"', ["its line", "edge.log_size", "no size"], "schema"),
    ('memory = "128MB"', 'memory = "1kB"', ["its line", "edge.memory"], "schema"),
    ("redact = []", 'redact = ["at"]', ["[edge] redact names 'at'"], "schema"),
    ("effect = 0.2", "effect = inf", ["its line", "monitor.effect"], "schema"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"), BROKEN, ids=[f"{new[:24]}" for _, new, _, _ in BROKEN]
)
def test_a_mistake_is_named_with_file_line_and_key(
    old: str, new: str, message: list[str], hint: str, tmp_path: Path
) -> None:
    assert old in WHOLE
    file = tmp_path / "mlops.toml"
    file.write_text(WHOLE.replace(old, new, 1))
    with pytest.raises(ProjectError) as caught:
        load_project(tmp_path)
    assert str(file) in caught.value.message
    lines = file.read_text().splitlines()
    for fragment in message:
        if fragment == "its line":
            fragment = f"line {[new.splitlines()[0] in line for line in lines].index(True) + 1}"
        elif fragment.startswith("line of "):
            fragment = f"line {lines.index(fragment.removeprefix('line of ')) + 1}"
        assert fragment in caught.value.message, caught.value.message
    assert hint in str(caught.value.hint), caught.value.hint


def test_a_missing_table_is_asked_for() -> None:
    with pytest.raises(ProjectError, match=r"'model' is missing") as caught:
        parse_project('[project]\nname = "x"\n[data]\nsource = "a.csv"\n')
    assert caught.value.hint == "add a table [model]"


def test_a_value_where_a_table_belongs_is_named() -> None:
    with pytest.raises(ProjectError, match="line 1: model must be a table"):
        parse_project('model = "x"\n[project]\nname = "x"\n[data]\nsource = "a.csv"\n')


def test_all_mistakes_are_counted_and_listed() -> None:
    with pytest.raises(ProjectError, match=r"\(and 1 more\)") as caught:
        parse_project(WHOLE.replace("seed = 7", "seed = -7").replace("max_rows = 500", "max_rows = 0"))
    assert len(caught.value.details["problems"]) == 2


def test_a_missing_or_unreadable_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"there is no .*mlops\.toml") as caught:
        load_project(tmp_path)
    assert "mlops-box init" in str(caught.value.hint)
    (tmp_path / "mlops.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProjectError, match="cannot be read"):
        load_project(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/mlops.toml").mkdir()
    with pytest.raises(ProjectError, match="cannot be read"):
        load_project(tmp_path / "folder")


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    text = WHOLE.replace('file = "features/card_activity.sql"\n', "")
    (tmp_path / "mlops.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load_project(tmp_path / "mlops.toml").folder == tmp_path


def test_a_project_is_remembered_once_and_its_model_belongs_to_it(tmp_path: Path) -> None:
    db, clock = Database(tmp_path / "box.db"), SystemClock()
    ledger = Ledger(db, clock, "tester")
    registry = ProjectRegistry(db, ledger, clock)
    project = LoadedProject(tmp_path, parse_project(WHOLE))
    registry.register(project)
    registry.register(project)
    assert ledger.head()[0] == 1
    assert registry.get("bike-rentals").declaration == project.declaration
    found = registry.for_model("bikes")
    assert found is not None
    assert found.folder == tmp_path
    rival = LoadedProject(tmp_path, parse_project(WHOLE.replace("bike-rentals", "other")))
    with pytest.raises(UsageError, match="belongs to project 'bike-rentals'"):
        registry.register(rival)
    assert [known.name for known in registry.list()] == ["bike-rentals"]
    with pytest.raises(NotFoundError, match="knows no project"):
        registry.get("nobody")
    assert (
        json.loads(db.read("SELECT declaration FROM projects")[0]["declaration"])["model"]["name"] == "bikes"
    )
