"""The files of a new project, as texts."""

from __future__ import annotations

from mlops_box.operations.init_choices import Choice, Plan, describe_rule
from mlops_box.operations.init_features import VIEW, VIEW_FILE, ViewPlan, source_toml, view_sql
from mlops_box.operations.init_toml import key, toml
from mlops_box.project import BATCH_KEYS, Task


def project_files(
    name: str, source: str, plan: Plan, gates: dict[str, dict[str, float]], view: ViewPlan | None = None
) -> dict[str, str]:
    """Relative path -> text of everything `mlops-box init` writes."""
    return {
        "mlops.toml": mlops_toml(name, source, plan, gates, view),
        **({VIEW_FILE: view_sql(view)} if view else {}),
        "train.py": _train(plan.task),
        "tests/test_project.py": _TEST,
        ".github/workflows/mlops.yml": _WORKFLOW,
        ".gitignore": "__pycache__/\n.pytest_cache/\n.venv/\n",
        "README.md": _readme(name, source, plan),
    }


def mlops_toml(
    name: str, source: str, plan: Plan, gates: dict[str, dict[str, float]], view: ViewPlan | None = None
) -> str:
    """The declaration, commented; it loads, and the data it was made from passes it."""
    plain = {column: rule for column, rule in plan.rules.items() if column not in BATCH_KEYS}
    clashing = {column: rule for column, rule in plan.rules.items() if column in BATCH_KEYS}
    champion = next(iter(gates))
    lines = [
        "# Every key is explained by: mlops-box schema",
        "[project]",
        f"name = {toml(name)}",
        "",
        "[data]",
        f"source = {toml(source)}  # a file or a glob, relative to this file",
        '# query = "select * from source"  # SQL over the source; what it returns is the data',
        *([f"time = {toml(plan.time)}"] if plan.time else []),
        *([f"key = {toml(list(plan.key))}  # a repeated key is quarantined"] if plan.key else []),
        "",
        "# What a row must be. A row that breaks a rule goes to quarantine; the numbers were inferred: edit them.",
        "[data.contract]",
        *[f"{key(column)} = {toml(describe_rule(rule))}" for column, rule in plain.items()],
        "# What a batch must be.",
        f"rows = {{ min = {plan.rows_min} }}  # half of what there was at first",
        f"quarantine = {toml(f'{plan.quarantine * 100:g}%')}  # more bad rows than this refuse the batch",
        '# freshness = "7d"  # the newest row must not be older',
        "",
    ]
    if clashing:
        lines += ["# Columns that are named like a rule of the batch.", "[data.contract.columns]"]
        lines += [f"{key(column)} = {toml(describe_rule(rule))}" for column, rule in clashing.items()] + [""]
    lines += source_toml(view, source) if view else []
    lines += [
        "[model]",
        f"task = {toml(plan.task)}",
        f"target = {toml(plan.target)}",
        "features = [",
        *[f"  {toml(feature)}," for feature in plan.features],
        *([f"  {toml(f'{VIEW}.*')},"] if view else []),
        "]",
        'train = "train.py:build"',
        f"split = {toml({'by': plan.split, 'test': 0.2})}",
        '# Trees need no scaling. For linear models and networks: scale = "standard".',
        'preprocess = { numeric = { impute = "median", scale = "none" } }',
        "",
        "# A version that fails a gate is kept as rejected and never served.",
        "[gates]",
        *[f"{metric} = {toml(bound)}" for metric, bound in gates.items()],
        f"champion = {{ metric = {toml(champion)}, margin = 0.0 }}  # never worse than what serves now, on the same rows",
        "",
        "[monitor]",
        'window = "1h"',
        'ground_truth_delay = "1d"',
        "",
        "[retrain]",
        'mode = "suggest"  # off | suggest | auto',
        'on = ["drift", "quality"]',
        'cooldown = "12h"',
        "",
        "[schedule]",
        '# train = "0 3 * * *"  # five fields, UTC',
        'monitor = "*/10 * * * *"',
        "",
    ]
    return "\n".join(lines)


def _train(task: Task) -> str:
    kind = "Regressor" if task == "regression" else "Classifier"
    return f'''"""How this project's model is trained.

The box fills gaps, scales and encodes as [model.preprocess] in mlops.toml says, before this estimator sees a float32
matrix; the whole chain is exported, so that serving needs nothing of this file.
"""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import HistGradientBoosting{kind}


def build(params: dict[str, Any]) -> HistGradientBoosting{kind}:
    """Return an unfitted estimator; ``params`` is the table [model.params] of mlops.toml."""
    settings = {{"max_iter": 200, "learning_rate": 0.1, "early_stopping": False, "random_state": 0}}
    return HistGradientBoosting{kind}(**(settings | params))
'''


def _readme(name: str, source: str, plan: Plan) -> str:
    rows = "\n".join(
        f"| {_cell(choice.about)} | {_cell(choice.chosen)} | {_cell(choice.why)} |" for choice in _shown(plan)
    )
    return f"""# {name}

Predicts `{_cell(plan.target)}` ({plan.task}) from {len(plan.features)} columns of `{_cell(source)}`.

```sh
mlops-box check      # the data against its contract: a snapshot, or a refusal that says why
mlops-box train      # train, evaluate, gate, register
mlops-box up         # serve it, watch it, retrain it
mlops-box tui        # look at it
```

`mlops.toml` declares data, contract, model, gates; `train.py` builds the estimator; `pytest` checks both.

## What `mlops-box init` decided

| about | chosen | why |
| --- | --- | --- |
{rows}
"""


def _shown(plan: Plan) -> tuple[Choice, ...]:
    return plan.choices


def _cell(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable.replace("|", "\\|").replace("`", "'")


_TEST = '''"""The project is whole: its declaration loads, its data pass the contract, its estimator can be built."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from mlops_box.box import Box
from mlops_box.operations.check import check
from mlops_box.project import load_project

FOLDER = Path(__file__).parents[1]


def test_the_data_pass_their_contract(tmp_path: Path) -> None:
    with Box.open(tmp_path / "box") as box:
        outcome = check(box, load_project(FOLDER))
    assert outcome.verdict.accepted
    assert outcome.snapshot.rows > 0


def test_the_estimator_can_be_built() -> None:
    project = load_project(FOLDER).declaration
    file, _, function = project.model.train.partition(":")
    spec = importlib.util.spec_from_file_location("project_train", FOLDER / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert hasattr(getattr(module, function)(dict(project.model.params)), "fit")
'''

_WORKFLOW = """# The data file must be in the repository, or be fetched by a step of yours, for these to pass.
name: mlops
on:
  push:
  pull_request:
jobs:
  model:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.11"
      - run: pip install mlops-box pytest
      - run: pytest
      - run: mlops-box check
      - run: mlops-box train
"""
