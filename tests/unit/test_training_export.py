"""What comes out of training: graphs that answer as the trained model does, or a clear refusal."""

import json

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest

from mlops_box.errors import TrainingError
from mlops_box.models.encode import encode_rows
from mlops_box.models.golden import Golden, check_golden
from mlops_box.models.runtime import OnnxModel
from mlops_box.models.values import Feature, Signature
from mlops_box.training.graph import Core, assemble
from mlops_box.training.parity import compare
from mlops_box.training.preprocess import Preprocessor
from mlops_box.training.sklearn_fit import convert

FEATURES = ["size", "hour", "kind", "open"]
IMPORTS = """
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import *
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import *
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import *
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
"""
REGRESSORS = [
    "LinearRegression()", "Ridge()", "ElasticNet()", "HuberRegressor()", "QuantileRegressor()", "SVR()",
    "MLPRegressor(hidden_layer_sizes=[8], max_iter=20)", "DecisionTreeRegressor()",
    "RandomForestRegressor(10)", "ExtraTreesRegressor(10)", "GradientBoostingRegressor(n_estimators=10)",
    "AdaBoostRegressor(n_estimators=5)", "BaggingRegressor(n_estimators=3)",
    "HistGradientBoostingRegressor(max_iter=10)",
    "HistGradientBoostingRegressor(loss='poisson', max_iter=10)",
    "HistGradientBoostingRegressor(loss='gamma', max_iter=10)",
    "HistGradientBoostingRegressor(loss='quantile', quantile=0.8, max_iter=10)",
    "make_pipeline(PolynomialFeatures(2), HistGradientBoostingRegressor(loss='poisson', max_iter=5))",
    "StackingRegressor([('a', Ridge()), ('b', DecisionTreeRegressor(max_depth=3))], cv=2)",
    "PoissonRegressor()", "GammaRegressor()", "GridSearchCV(Ridge(), {'alpha': [0.1, 1.0]}, cv=2)",
    "make_pipeline(PCA(3), Ridge())", "make_pipeline(PowerTransformer(), Ridge())",
    "make_pipeline(ColumnTransformer([('s', RobustScaler(), [0, 1])], remainder='passthrough'), Ridge())",
]  # fmt: skip
CLASSIFIERS = [
    "LogisticRegression()", "SGDClassifier(loss='log_loss')", "GaussianNB()", "MLPClassifier(hidden_layer_sizes=[8], max_iter=20)",
    "DecisionTreeClassifier()", "RandomForestClassifier(10)",
    "ExtraTreesClassifier(10)", "GradientBoostingClassifier(n_estimators=8)",
    "AdaBoostClassifier(n_estimators=5)", "BaggingClassifier(n_estimators=3)",
    "HistGradientBoostingClassifier(max_iter=8)", "QuadraticDiscriminantAnalysis(reg_param=0.1)",
    "CalibratedClassifierCV(LinearSVC(), cv=2)", "CalibratedClassifierCV(SVC(), ensemble=False, cv=2)",
    "StackingClassifier([('a', LogisticRegression()), ('b', DecisionTreeClassifier(max_depth=3))], cv=2)",
    "VotingClassifier([('a', LogisticRegression()), ('b', GaussianNB())], voting='soft')",
]  # fmt: skip
LOGISTIC = "from sklearn.linear_model import LogisticRegression\ndef build(params): return LogisticRegression(**params)"


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    rows = 400
    size, hour = random.normal(size=rows), random.integers(0, 24, rows)
    kind = random.choice(["a", "b", "rare", None], rows, p=[0.5, 0.3, 0.1, 0.1])
    is_open = random.random(rows) < 0.5
    count = np.exp(0.5 * size + 0.05 * hour + (kind == "a") + 0.3 * is_open + random.normal(size=rows) * 0.1)
    return pa.table({
        "size": [None if value > 1.5 else float(value) for value in size],
        "hour": hour, "kind": pa.array(kind.tolist(), pa.string()), "open": is_open, "count": count,
        "busy": count > np.median(count),
        "level": np.digitize(count, np.quantile(count, [0.33, 0.66])),
    })  # fmt: skip


def code_for(expression):
    return f"{IMPORTS}\ndef build(params):\n    return {expression}\n"


@pytest.mark.parametrize("expression", REGRESSORS)
def test_an_exported_regressor_answers_as_the_trained_one(expression, table, train_case):
    trained = train_case(code_for(expression), table, task="regression", target="count", features=FEATURES)
    assert trained.parity.passed, trained.parity.message()
    assert trained.parity.rows > 500


@pytest.mark.parametrize(("task", "target"), [("binary", "busy"), ("multiclass", "level")])
@pytest.mark.parametrize("expression", CLASSIFIERS)
def test_an_exported_classifier_answers_as_the_trained_one(expression, task, target, table, train_case):
    trained = train_case(code_for(expression), table, task=task, target=target, features=FEATURES)
    assert trained.parity.passed, trained.parity.message()
    assert trained.signature.classes == ((False, True) if task == "binary" else (0, 1, 2))


@pytest.mark.parametrize(
    ("expression", "task", "message", "hint"),
    [
        ("HistGradientBoostingRegressor(categorical_features=[1])", "regression", "exported wrongly", "categorical"),
        ("BaggingRegressor(HistGradientBoostingRegressor(loss='gamma'))", "regression", "exponential", "last step"),
        ("LinearDiscriminantAnalysis()", "binary", "exported wrongly", "LogisticRegression"),
        ("TransformedTargetRegressor(Ridge())", "regression", "TransformedTargetRegressor", "query"),
        ("make_pipeline(SplineTransformer(), Ridge())", "regression", "SplineTransformer", "Polynomial"),
        ("make_pipeline(FunctionTransformer(abs), Ridge())", "regression", "FunctionTransformer", "SQL"),
        ("DummyRegressor()", "regression", "DummyRegressor", "skl2onnx"),
        ("LinearSVC()", "binary", "no probabilities", "CalibratedClassifierCV"),
        ("RidgeClassifier()", "binary", "no probabilities", "CalibratedClassifierCV"),
        ("VotingClassifier([('a', GaussianNB())])", "binary", "no probabilities", "soft"),
        ("TunedThresholdClassifierCV(GaussianNB())", "binary", "TunedThreshold", "likeliest"),
        ("GaussianProcessClassifier()", "binary", "com.microsoft", "another estimator"),
        ("Ridge()", "binary", "no classifier", "classifier"),
        ("GaussianNB()", "regression", "no regressor", "regressor"),
        ("Ridge", "regression", "the class Ridge", "Ridge"),
        ("None", "regression", "NoneType", "TorchRecipe"),
        ("Ridge(alpha=-1)", "regression", "cannot be trained", None),
    ],
)  # fmt: skip
def test_what_would_not_survive_export_is_refused_with_a_way_out(
    expression, task, message, hint, table, train_case
):
    target = "count" if task == "regression" else "busy"
    with pytest.raises(TrainingError, match=message) as caught:
        train_case(code_for(expression), table, task=task, target=target, features=FEATURES)
    assert hint is None or hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    "model", ["RandomForestClassifier(20)", "HistGradientBoostingClassifier(max_iter=50)"]
)
def test_a_scaler_before_trees_is_caught_by_parity_and_right_when_the_box_scales(model, train_case):
    random = np.random.default_rng(1)
    columns = {"a": random.integers(0, 1000, 2000), "b": random.integers(0, 24, 2000)}
    table = pa.table({**columns, "y": random.random(2000) < 0.5})
    given = {"task": "binary", "target": "y", "features": ["a", "b"]}
    plain = {"numeric": {"scale": "none"}}
    theirs = train_case(
        code_for(f"make_pipeline(StandardScaler(), {model})"), table, **given, preprocess=plain
    )
    assert not theirs.parity.passed
    assert "in front of trees" in theirs.parity.message()
    assert train_case(code_for(model), table, **given).parity.passed
    assert train_case(code_for(model), table, **given, preprocess=plain).parity.passed


@pytest.mark.parametrize(
    "model", ["HistGradientBoostingRegressor(min_samples_leaf=1)", "RandomForestRegressor(5)"]
)
def test_trees_tell_neighbouring_float32_numbers_apart(model, train_case):
    # Seconds since 1970 are 128 apart in float32: every threshold lies between two neighbours.
    seconds = 1_700_000_000 + 128 * (np.arange(600) % 120)
    table = pa.table({"at": seconds, "y": (seconds // 128 % 7).astype(float)})
    trained = train_case(
        code_for(model),
        table,
        task="regression",
        target="y",
        features=["at"],
        preprocess={"numeric": {"scale": "none"}},
    )
    assert trained.parity.passed, trained.parity.message()


def test_neighbours_are_exported_right_where_no_two_are_equally_far(train_case):
    random = np.random.default_rng(0)
    table = pa.table(
        {"a": random.normal(size=300), "b": random.normal(size=300), "y": random.normal(size=300)}
    )
    code = code_for("KNeighborsRegressor()")
    trained = train_case(code, table, task="regression", target="y", features=["a", "b"])
    worst = trained.parity.variants[0]
    assert worst.rows_over <= 1, trained.parity.message()
    assert worst.p99_abs_difference < 1e-5


def hist_regressor(**options):
    from sklearn.ensemble import HistGradientBoostingRegressor

    random = np.random.default_rng(0)
    matrix = np.stack([random.integers(0, 12, 600), random.normal(size=600)], axis=1).astype(np.float32)
    answers = np.exp(np.isin(matrix[:, 0], [1, 5, 7]) * 2.0 + 0.3 * matrix[:, 1])
    return HistGradientBoostingRegressor(max_iter=20, **options).fit(matrix, answers), matrix, answers


@pytest.mark.parametrize("options", [{"categorical_features": [0]}, {"loss": "poisson"}, {"loss": "gamma"}])
def test_exports_that_are_silently_wrong_do_not_pass_the_parity_gate_either(options):
    """Converted behind the linter's back, as if it had not known them."""
    from mlops_box.models.encode import Tensors
    from mlops_box.models.runtime import Output

    fitted, matrix, answers = hist_regressor(**options)
    features = (Feature("a", "numeric", "double"), Feature("b", "numeric", "double"))
    signature = Signature("regression", "y", features)
    plain = Preprocessor(("a", "b"), np.zeros(2, dtype=np.float32), None, None, (), ())
    core = convert(fitted, 2, "regression")
    graphs = assemble(plain, Core(core.model, core.output), signature)
    native = Output(prediction=fitted.predict(matrix).astype(np.float32))
    report = compare(
        native,
        graphs.named,
        OnnxModel(graphs.packed, signature),
        Tensors(matrix, None),
        spread=float(np.std(answers)),
    )
    assert not report.passed
    assert report.max_abs_difference > 0.1


def test_the_same_training_gives_the_same_bytes(table, train_case):
    code = code_for("RandomForestRegressor(5)")
    one, other = (
        train_case(code, table, task="regression", target="count", features=FEATURES, seed=3)
        for _ in range(2)
    )
    assert one.model_onnx == other.model_onnx
    assert one.packed_onnx == other.packed_onnx
    assert one.golden == other.golden
    another = train_case(code, table, task="regression", target="count", features=FEATURES, seed=4)
    assert another.packed_onnx != one.packed_onnx


def test_the_named_graph_needs_nothing_but_onnxruntime(table, train_case):
    trained = train_case(LOGISTIC, table, task="multiclass", target="level", features=FEATURES)
    session = onnxruntime.InferenceSession(trained.model_onnx)
    assert {item.name: item.type for item in session.get_inputs()} == {
        "size": "tensor(float)", "hour": "tensor(float)", "kind": "tensor(string)", "open": "tensor(float)",
    }  # fmt: skip
    assert [item.name for item in session.get_outputs()] == ["probability", "label"]
    model = onnx.load_model_from_string(trained.model_onnx)
    assert json.loads({item.key: item.value for item in model.metadata_props}["classes"]) == [0, 1, 2]


def test_golden_rows_hold_damaged_values_and_the_trained_models_answers(table, train_case):
    trained = train_case(LOGISTIC, table, task="binary", target="busy", features=FEATURES)
    golden = Golden.from_json(trained.golden.to_json())
    assert 32 <= len(golden.rows) <= 64
    assert any(row["size"] is None for row in golden.rows)
    assert any(row["kind"] not in ("a", "b", "rare", None) for row in golden.rows)
    assert check_golden(OnnxModel(trained.packed_onnx, trained.signature), golden) == []
    other = train_case(LOGISTIC, table, task="binary", target="busy", features=FEATURES, params={"C": 0.01})
    assert check_golden(OnnxModel(other.packed_onnx, other.signature), golden)


def test_missing_and_never_seen_values_are_answered(table, train_case):
    trained = train_case(LOGISTIC, table, task="binary", target="busy", features=FEATURES)
    model = OnnxModel(trained.packed_onnx, trained.signature)
    tensors = encode_rows([{}, {"kind": "nobody saw this"}, {"size": float("nan")}], trained.signature)
    assert np.isfinite(model.predict(tensors).probability).all()
    np.testing.assert_allclose(
        model.predict(tensors).probability, trained.predict(tensors).probability, atol=1e-6
    )


def test_categories_are_kept_by_frequency_and_limited(table, train_case):
    limited = {"categorical": {"max_values": 2}}
    trained = train_case(LOGISTIC, table, task="binary", target="busy", features=FEATURES, preprocess=limited)
    values = {feature.name: feature.values for feature in trained.signature.features}
    assert values == {"size": None, "hour": None, "kind": ("a", "b"), "open": None}


def test_a_number_named_categorical_is_one_hot_encoded(table, train_case):
    trained = train_case(
        LOGISTIC, table, task="binary", target="busy", features=["size", "hour"], categorical=["hour"]
    )
    assert trained.parity.passed
    assert trained.signature.categorical == ("hour",)
    assert "13" in trained.signature.features[1].values


def test_text_classes_keep_their_names_and_boolean_classes_their_type(train_case):
    table = pa.table({"x": np.arange(100) % 2 + 0.5, "y": ["no", "yes"] * 50})
    trained = train_case(LOGISTIC, table, task="binary", target="y", features=["x"])
    assert trained.signature.classes == ("no", "yes")
    output = OnnxModel(trained.packed_onnx, trained.signature).predict(
        encode_rows([{"x": 0.5}, {"x": 1.5}], trained.signature)
    )
    assert output.label.tolist() == [0, 1]


def test_the_record_tells_programs_code_and_seed(table, train_case):
    trained = train_case(LOGISTIC, table, task="binary", target="busy", features=FEATURES, seed=7)
    assert trained.environment["seed"] == 7
    assert trained.environment["packages"]["scikit-learn"]
    assert len(trained.environment["code"]["sha256"]) == 64
    assert "LogisticRegression" in trained.environment["estimator"]
    assert json.loads(json.dumps(trained.environment)) == trained.environment


def test_warnings_of_the_library_reach_the_user(table, train_case):
    code = code_for("MLPRegressor(hidden_layer_sizes=[4], max_iter=1)")
    trained = train_case(code, table, task="regression", target="count", features=FEATURES)
    assert any("Maximum iterations" in note for note in trained.notes)
