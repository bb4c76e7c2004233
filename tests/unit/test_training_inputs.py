"""Data, declarations and training functions that do not fit are each refused with one clear error."""

import sys
from datetime import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from mlops_box.errors import BusyError, TrainingError
from mlops_box.models.encode import Tensors
from mlops_box.models.values import Feature
from mlops_box.progress import SilentProgress
from mlops_box.project.declaration import Categorical, Numeric, Preprocess
from mlops_box.training.gpu import gpu_lease
from mlops_box.training.preprocess import fit_preprocessor
from mlops_box.training.user_code import user_code

RIDGE = "from sklearn.linear_model import Ridge\ndef build(params): return Ridge()"
LOGISTIC = "from sklearn.linear_model import LogisticRegression\ndef build(params): return LogisticRegression(**params)"
ROWS = 60
X = np.arange(ROWS, dtype=float)


def the_table(**columns):
    return pa.table({"x": X, "y": X * 2, **columns})


@pytest.mark.parametrize(
    ("columns", "model", "message"),
    [
        ({"y": pa.nulls(ROWS, pa.float64())}, {}, "target 'y' has no value"),
        ({"y": ["a"] * ROWS}, {}, "regression learns numbers"),
        ({"y": X > 3}, {}, "regression learns numbers"),
        ({"y": np.where(X == 1, np.inf, X)}, {}, "infinite values in 1 rows"),
        ({"y": [1.0] * 8 + [None] * (ROWS - 8)}, {}, "only 6 training rows"),
        ({}, {"target": "z"}, "no column 'z', the target"),
        ({}, {"features": ["z"]}, "no column 'z', a feature"),
        ({"t": [datetime(2026, 1, 1)] * ROWS}, {"features": ["t"]}, "'t' is a timestamp"),
        ({"label": X}, {"features": ["label"]}, "may not be called 'label'"),
        ({"box/x": X}, {"features": ["box/x"]}, "may not begin with"),
        ({"x": pa.nulls(ROWS, pa.float64())}, {}, "'x' has no value in any training row"),
        ({"x": pa.nulls(ROWS, pa.string())}, {}, "'x' has no value in any training row"),
        ({"x": np.where(X == 1, np.inf, X)}, {}, "'x' is infinite"),
        ({"x": np.where(X == 1, 1e300, X)}, {}, "beyond the range of float32"),
        ({"y": [True] * ROWS}, {"task": "binary"}, "True in every training row"),
        ({"y": X % 3}, {"task": "binary"}, "3 classes"),
        ({"y": X + 0.5}, {"task": "multiclass"}, "name no class"),
        ({"y": [datetime(2026, 1, 1)] * ROWS}, {"task": "multiclass"}, "names no class"),
    ],
)
def test_data_that_cannot_be_learnt_are_refused_by_name(columns, model, message, train_case):
    given = {"task": "regression", "target": "y", "features": ["x"], **model}
    with pytest.raises(TrainingError, match=message) as caught:
        train_case(RIDGE if given["task"] == "regression" else LOGISTIC, the_table(**columns), **given)
    assert "Traceback" not in str(caught.value)


def test_a_time_feature_says_how_to_make_a_number_of_it(train_case):
    with pytest.raises(TrainingError) as caught:
        train_case(
            RIDGE, the_table(t=["2026-01-01"] * ROWS), types={"t": "date"},
            task="regression", target="y", features=["t"],
        )  # fmt: skip
    assert "[data].query" in caught.value.hint


def test_rows_without_a_target_are_left_out_on_both_sides(train_case):
    target = [None if row % 10 in (0, 1) else float(row) for row in range(ROWS)]
    trained = train_case(RIDGE, the_table(y=target), task="regression", target="y", features=["x"])
    assert not {row for row in (*trained.train, *trained.test) if row % 10 in (0, 1)}
    assert len(trained.train) == 42
    assert len(trained.test) == 6


def test_whole_numbers_read_as_double_or_decimal_are_classes(train_case):
    for values in ([float(row % 3) for row in range(ROWS)], [Decimal(row % 3) for row in range(ROWS)]):
        trained = train_case(LOGISTIC, the_table(y=values), task="multiclass", target="y", features=["x"])
        assert trained.signature.classes == (0, 1, 2)


def test_a_class_weight_under_the_classes_own_name_is_explained(train_case):
    with pytest.raises(TrainingError) as caught:
        train_case(
            LOGISTIC, the_table(y=["no", "yes"] * (ROWS // 2)),
            task="binary", target="y", features=["x"], params={"class_weight": {"yes": 3}},
        )  # fmt: skip
    assert "'no' = 0, 'yes' = 1" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "there is no .*train.py"),
        ("def other(params): pass", "has no function 'build'"),
        ("build = 3", "has no function 'build'"),
        ("def build(params)\n  pass", r"SyntaxError.*train.py, line 1"),
        ("\nimport nothing_of_this_name", r"nothing_of_this_name.*train.py, line 2"),
        (
            "def build(params):\n    return params['absent']",
            r"train.py:build failed: KeyError.*line 2, in build",
        ),
        ("def helper():\n    raise ValueError('no')\ndef build(p): return helper()", "line 2, in helper"),
        ("def build(): pass", "build failed: TypeError"),
        ("import sys\nsys.exit('enough')", "SystemExit: enough .*line 2"),
    ],
)
def test_a_training_function_that_fails_is_named_with_file_and_line(code, message, tmp_path):
    if code is not None:
        (tmp_path / "train.py").write_text(code)
    with pytest.raises(TrainingError, match=message), user_code(tmp_path, "train.py:build") as build:
        build({})


@pytest.mark.parametrize(
    "code",
    [
        "import torch\ndef build(p): pass",
        "def build(p):\n    from torch import nn",
        "from mlops_box.training import TorchRecipe\ndef build(p): return TorchRecipe(module=lambda i, o: None)",
    ],
)
def test_a_torch_project_without_torch_says_what_to_install(code, train_case, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(TrainingError, match="torch") as caught:
        train_case(code, the_table(), task="regression", target="y", features=["x"])
    assert "mlops-box[torch]" in caught.value.hint


def test_the_users_modules_leave_no_trace(tmp_path):
    (tmp_path / "helper_of_this_test.py").write_text("VALUE = 5")
    (tmp_path / "train.py").write_text(
        "import helper_of_this_test\ndef build(p): return helper_of_this_test.VALUE"
    )
    path, modules = list(sys.path), set(sys.modules)
    with user_code(tmp_path, "train.py:build") as build:
        assert build({}) == 5
    assert sys.path == path
    assert set(sys.modules) == modules
    assert sorted(item.name for item in tmp_path.iterdir()) == ["helper_of_this_test.py", "train.py"]


def test_what_the_users_code_prints_stays_off_standard_output(train_case, capfd):
    code = RIDGE.replace("return", "print('hello from build'); return")
    train_case(code, the_table(), task="regression", target="y", features=["x"])
    out, err = capfd.readouterr()
    assert out == ""
    assert "hello from build" in err


def test_a_training_file_outside_the_project_is_refused(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "train.py").write_text("def build(p): return 1")
    with pytest.raises(TrainingError, match="outside"), user_code(project, "../train.py:build"):
        pass


def numbers(*columns):
    return Tensors(np.array(columns, dtype=np.float32).T, None)


A = (Feature("a", "numeric", "double"),)


def settings(impute="median", scale="standard", **categorical):
    return Preprocess(numeric=Numeric(impute=impute, scale=scale), categorical=Categorical(**categorical))


@pytest.mark.parametrize(("impute", "fill"), [("median", 2.0), ("mean", 3.0), ("zero", 0.0)])
def test_missing_numbers_are_filled_as_declared(impute, fill):
    fitted = fit_preprocessor(numbers([1, 2, 6, np.nan]), A, settings(impute, "none"))
    assert fitted.transform(numbers([np.nan, 7])).ravel().tolist() == [fill, 7.0]


def test_scaled_numbers_have_mean_zero_and_deviation_one_and_constants_become_zero():
    random = np.random.default_rng(0)
    tensors = numbers(random.normal(50, 7, 1000), np.full(1000, 1e6 + 0.1))
    features = (*A, Feature("b", "numeric", "double"))
    matrix = fit_preprocessor(tensors, features, settings()).transform(tensors)
    np.testing.assert_allclose(matrix.mean(axis=0), 0, atol=1e-1)
    np.testing.assert_allclose(matrix[:, 0].std(), 1, atol=1e-4)
    assert matrix[:, 1].std() == 0


def test_categories_get_a_column_by_frequency_and_the_rest_are_zeros():
    text = np.array([["b"], ["a"], ["b"], ["c"], [""], ["a"], ["b"]], dtype=object)
    feature = (Feature("kind", "categorical", "varchar"),)
    fitted = fit_preprocessor(Tensors(None, text), feature, settings(min_count=2))
    assert fitted.columns == ("kind=b", "kind=a")
    unseen = np.array([["b"], ["a"], ["c"], [""], ["new"]], dtype=object)
    assert fitted.transform(Tensors(None, unseen)).tolist() == [[1, 0], [0, 1], [0, 0], [0, 0], [0, 0]]


def test_a_gpu_in_use_makes_the_next_training_wait_and_then_says_so(tmp_path):
    lock = tmp_path / "gpu.lock"
    with (
        gpu_lease(lock, progress=SilentProgress()),
        pytest.raises(BusyError, match="held the GPU"),
        gpu_lease(lock, progress=SilentProgress(), wait_s=0.3),
    ):
        pass
    with gpu_lease(lock, progress=SilentProgress(), wait_s=0):
        assert lock.exists()
