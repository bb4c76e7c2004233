"""Requests and answers of the Open Inference Protocol over REST, and what a model's interface makes of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from mlops_box.errors import UsageError
from mlops_box.models.values import Feature, Signature
from mlops_box.project import parse_project
from mlops_box.serving.answers import Answers
from mlops_box.serving.columns import Columns
from mlops_box.serving.door import Door
from mlops_box.serving.door_rules import door_rules
from mlops_box.serving.problems import ContractViolation, MalformedBody
from mlops_box.serving.protocols.infer import InferAnswer, parse_request, write_answer
from mlops_box.serving.protocols.interface import Interface, TensorInfo
from mlops_box.serving.protocols.tensors import Tensor, from_list

PROJECT = """
[project]
name = "all"
[data]
source = "all.csv"
time = "at"
[data.contract]
at = { type = "timestamp" }
speed = { type = "double", max = 100, null = true }
count = { type = "bigint", min = 0 }
on = { type = "boolean" }
kind = { type = "varchar", in = ["l", "m"], null = true }
[model]
task = "binary"
target = "fails"
features = ["speed", "count", "on", "kind"]
"""
FEATURES = (
    Feature("speed", "numeric", "double"),
    Feature("count", "numeric", "bigint"),
    Feature("on", "numeric", "boolean"),
    Feature("kind", "categorical", "varchar", ("l", "m")),
)
ALL = Signature("binary", "fails", FEATURES, (False, True))
NUMBERS = Signature("regression", "rate", FEATURES[:2])


def interface(signature: Signature = ALL) -> tuple[Interface, Door]:
    return Interface(signature), Door(signature, door_rules(parse_project(PROJECT)))


def tensors(**columns: tuple[str, list[Any]]) -> list[Tensor]:
    return [from_list(name, datatype, (len(data),), data) for name, (datatype, data) in columns.items()]


GOOD: dict[str, tuple[str, list[Any]]] = {
    "speed": ("FP64", [1.5, None]),
    "count": ("INT64", [3, 4]),
    "on": ("BOOL", [True, False]),
    "kind": ("BYTES", ["m", None]),
}


def test_the_metadata_names_one_typed_input_a_feature() -> None:
    face, _ = interface()
    assert [(info.name, info.datatype, info.shape) for info in face.inputs] == [
        ("speed", "FP64", (-1, 1)),
        ("count", "INT64", (-1, 1)),
        ("on", "BOOL", (-1, 1)),
        ("kind", "BYTES", (-1, 1)),
    ]
    assert [(info.name, info.datatype, info.shape) for info in face.outputs] == [
        ("label", "BOOL", (-1,)),
        ("probability", "FP32", (-1, 2)),
        ("id", "BYTES", (-1,)),
    ]
    assert face.outputs[1].parameters == {"classes": "[false,true]"}


@pytest.mark.parametrize(
    ("classes", "datatype"), [((1, 2, 3), "INT64"), (("a", "b"), "BYTES"), ((True, 2), "BYTES")]
)
def test_a_label_has_the_type_of_the_classes(classes: tuple[Any, ...], datatype: str) -> None:
    face = Interface(Signature("multiclass", "y", FEATURES, classes))
    assert face.outputs[0] == TensorInfo("label", datatype, (-1,))
    answers = Answers(list(classes), None, [str(value) for value in classes], [[0.5] * len(classes)], "ok")
    (label,) = face.write(answers, [], ["label"])
    assert len(label.values) == len(classes)


def test_few_rows_become_rows_and_many_columns_of_the_same_values() -> None:
    face, door = interface()
    rows = face.read(tensors(**GOOD), door)
    assert rows == [
        {"speed": 1.5, "count": 3, "on": True, "kind": "m"},
        {"speed": None, "count": 4, "on": False, "kind": None},
    ]
    many = face.read(tensors(**{name: (kind, values * 10) for name, (kind, values) in GOOD.items()}), door)
    assert isinstance(many, Columns)
    assert many.rows == 20
    assert np.isnan(many.values["speed"][1])
    assert many.values["kind"].tolist() == ["m", None] * 10


def test_float32_keeps_the_bounds_of_float32() -> None:
    face, _ = interface(NUMBERS)
    edge = float(np.float32(0.1))
    project = parse_project(PROJECT.replace("max = 100", "max = 0.1"))
    found = face.read(
        tensors(speed=("FP32", [edge]), count=("INT64", [1])), Door(NUMBERS, door_rules(project))
    )
    assert len(found) == 1


def test_a_number_may_come_in_any_number_type() -> None:
    face, door = interface(NUMBERS)
    for datatype in ("FP16", "FP32", "FP64", "INT8", "UINT64"):
        found = face.read(tensors(speed=(datatype, [2]), count=(datatype, [3])), door)
        if isinstance(found, Columns):
            found = [{name: values.tolist()[0] for name, values in found.values.items()}]
        assert found == [{"speed": 2, "count": 3}]


def test_other_columns_of_the_data_may_come_along() -> None:
    face, door = interface()
    rows = face.read(tensors(**GOOD, at=("BYTES", ["2026-01-01T00:00:00", "2026-01-02T00:00:00"])), door)
    assert isinstance(rows, list)
    assert rows[0]["at"] == "2026-01-01T00:00:00"


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT32"])
def test_a_model_of_numbers_takes_one_matrix_of_any_name(datatype: str) -> None:
    face, door = interface(NUMBERS)
    columns = face.read([from_list("input-0", datatype, (2, 2), [[1, 2], [3, 4]])], door)
    assert isinstance(columns, Columns)
    found = columns.matrix if columns.matrix is not None else np.stack(list(columns.values.values()), axis=1)
    assert found.tolist() == [[1, 2], [3, 4]]
    assert (columns.matrix is not None) == (datatype in ("FP16", "FP32"))


def test_a_matrix_of_doubles_keeps_its_doubles() -> None:
    face, door = interface(NUMBERS)
    columns = face.read([from_list("x", "FP64", (1, 2), [0.1, 2])], door)
    assert isinstance(columns, Columns)
    assert columns.values["speed"].tolist() == [0.1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speed": ("BYTES", ["1", "2"])}, "'speed' is BYTES, expected FP64"),
        ({"on": ("FP32", [1.0, 0.0])}, "'on' is FP32, expected BOOL"),
        ({"speed": ("BOOL", [True, True])}, "'speed' is BOOL, expected FP64"),
        ({"kind": ("INT64", [1, 2])}, "'kind' is INT64, expected BYTES"),
        ({"count": ("INT64", [1])}, "differ in rows: 'speed' has 2, 'count' 1"),
    ],
)
def test_a_wrong_input_is_named(change: dict[str, tuple[str, list[Any]]], message: str) -> None:
    face, door = interface()
    with pytest.raises(UsageError, match=message):
        face.read(tensors(**GOOD | change), door)


def test_a_missing_input_is_named_even_where_null_is_good() -> None:
    face, door = interface()
    without = {name: value for name, value in GOOD.items() if name != "kind"}
    with pytest.raises(UsageError, match="lacks the input 'kind'"):
        face.read(tensors(**without), door)


def test_an_unknown_input_is_told_what_it_may_have_meant() -> None:
    face, door = interface()
    wrong = {("kinds" if name == "kind" else name): value for name, value in GOOD.items()}
    with pytest.raises(ContractViolation, match="no column") as caught:
        face.read(tensors(**wrong), door)
    assert "kind" in str(caught.value.hint)


def test_the_contract_judges_tensors_as_rows() -> None:
    face, door = interface()
    with pytest.raises(ContractViolation) as caught:
        face.read(tensors(**GOOD | {"speed": ("FP64", [101.0, 5.0]), "kind": ("BYTES", ["m", "z"])}), door)
    problems: Any = caught.value.details["problems"]
    assert [(problem["row"], problem["rule"]) for problem in problems] == [(0, "speed.max"), (1, "kind.in")]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "no inputs"),
        (tensors(a=("FP32", [1]), b=("FP32", [1])) * 2, "two inputs"),
        ([from_list("x", "FP32", (1, 3), [1, 2, 3])], r"shape \[1, 3\]"),
        ([from_list("x", "FP32", (1, 2, 1), [1, 2])], r"shape \[1, 2, 1\]"),
        ([from_list("speed", "FP32", (1, 0), [])], r"shape \[1, 0\]"),
        (tensors(**{f"c{index}": ("FP32", [1.0]) for index in range(100)}), "has 100 inputs"),
    ],
)
def test_what_are_no_inputs_of_this_model_is_refused(inputs: list[Tensor], message: str) -> None:
    face, door = interface(NUMBERS)
    with pytest.raises(UsageError, match=message):
        face.read(inputs, door)


def test_no_rows_are_refused() -> None:
    face, door = interface(NUMBERS)
    with pytest.raises(UsageError, match="no row"):
        face.read(tensors(speed=("FP32", []), count=("INT64", [])), door)


def request(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
    return {"inputs": [tensor], **changes}


def test_id_and_wanted_outputs_are_read() -> None:
    outputs = [{"name": "label"}, {"name": "id", "parameters": {"binary_data": True}}]
    found = parse_request(orjson.dumps(request(id="7", outputs=outputs)), None)
    assert (found.id, found.outputs) == ("7", ("label", "id"))
    assert [found.wants_raw(name) for name in ("label", "id")] == [False, True]
    raw = parse_request(orjson.dumps(request(parameters={"binary_data_output": True})), None)
    assert raw.outputs is None
    assert raw.wants_raw("anything")


def test_raw_tensors_follow_the_json_in_its_order() -> None:
    told = [
        {"name": "a", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
        {"name": "b", "shape": [1], "datatype": "FP32", "data": [3]},
        {"name": "c", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}},
    ]
    head = orjson.dumps({"inputs": told})
    body = head + np.array([1, 2], dtype="<f4").tobytes() + b"\2\0\0\0hi"
    found = parse_request(body, b"%d" % len(head))
    assert [tensor.values.tolist() for tensor in found.inputs] == [[1, 2], [3], ["hi"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "no JSON object"),
        ({"inputs": []}, "no inputs"),
        ({"inputs": {}}, "no inputs"),
        ({"input": []}, "unknown key 'input'"),
        ({"inputs": [1]}, "an input is no JSON object"),
        ({"inputs": [{"shape": [1]}]}, "no name"),
        ({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}, "has no data"),
        ({"inputs": [{"name": "x", "dtype": "FP32"}]}, "unknown key 'dtype'"),
        (request(id=7), "id is no text"),
        (request(id="x" * 300), "300 characters"),
        (request(outputs={}), "is no list"),
        (request(outputs=[{"name": str(index)} for index in range(65)]), "65 outputs"),
        ({"inputs": [{}] * 4097}, "4097 inputs"),
        (request(outputs=[{}]), "no name"),
        (request(outputs=[{"name": "a"}, {"name": "a"}]), "name of its own"),
        (request(outputs=[{"name": "a", "parameters": {"classification": 3}}]), "'classification'"),
        (request(parameters=[]), "no object"),
        (request(parameters={"binary_data_output": 1}), "neither true nor false"),
        (
            {
                "inputs": [
                    {
                        "name": "x",
                        "shape": [1],
                        "datatype": "FP32",
                        "parameters": {"shared_memory_region": "r"},
                    }
                ]
            },
            "'shared_memory_region'",
        ),
        (
            {
                "inputs": [
                    {"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}
                ]
            },
            "0 bytes are left",
        ),
    ],
)
def test_what_is_no_request_is_refused(content: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_request(orjson.dumps(content), None)


@pytest.mark.parametrize("length", [b"", b"x", b"-1", b"99999", b"1" * 30])
def test_a_wrong_length_of_the_json_is_refused(length: bytes) -> None:
    with pytest.raises(UsageError, match="Inference-Header-Content-Length"):
        parse_request(orjson.dumps(request()), length)


def test_bytes_that_no_input_claims_are_refused() -> None:
    head = orjson.dumps(request())
    with pytest.raises(UsageError, match="3 bytes are left"):
        parse_request(head + b"abc", b"%d" % len(head))


def test_a_body_that_is_no_json_is_malformed() -> None:
    with pytest.raises(MalformedBody):
        parse_request(b'{"inputs": [NaN]}', None)


def test_an_answer_is_json_with_the_raw_outputs_behind_it() -> None:
    face, _ = interface()
    answers = Answers([True, False], [0.9, None], ["true", "false"], [[0.1, 0.9], [None, None]], "not_finite")
    outputs = face.write(answers, ["i", "jj"], None)
    answer = InferAnswer("all", "3", "7", "i", outputs)
    body, head = write_answer(answer, parse_request(orjson.dumps(request()), None))
    content = orjson.loads(body)
    assert head is None
    assert (content["model_name"], content["model_version"], content["id"]) == ("all", "3", "7")
    assert content["parameters"] == {"prediction_id": "i"}
    label, probability, ids = content["outputs"]
    assert label == {"name": "label", "datatype": "BOOL", "shape": [2], "data": [True, False]}
    assert probability["data"] == [0.1, 0.9, None, None]
    assert ids["data"] == ["i", "jj"]

    wanted = request(outputs=[{"name": "probability", "parameters": {"binary_data": True}}, {"name": "id"}])
    asked = parse_request(orjson.dumps(wanted), None)
    answer = InferAnswer("all", "3", None, "i", face.write(answers, ["i", "jj"], asked.outputs))
    body, head = write_answer(answer, asked)
    assert head is not None
    content = orjson.loads(body[:head])
    assert "id" not in content
    assert [output["name"] for output in content["outputs"]] == ["probability", "id"]
    assert content["outputs"][0]["parameters"]["binary_data_size"] == 16
    raw = np.frombuffer(body[head:], dtype="<f4")
    assert raw[:2].tolist() == pytest.approx([0.1, 0.9])
    assert np.isnan(raw[2:]).all()


def test_an_output_that_there_is_not_is_named() -> None:
    face, _ = interface()
    with pytest.raises(UsageError, match="no output 'score'") as caught:
        face.check_outputs(["score"])
    assert "label, probability, id" in str(caught.value.hint)


def test_the_stubs_are_what_the_definition_says() -> None:
    import subprocess

    root = Path(__file__).parents[2]
    made = subprocess.run(
        [sys.executable, root / "services/make_stubs.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
