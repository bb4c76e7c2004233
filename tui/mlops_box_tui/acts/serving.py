"""Ask a version one row by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlops_box.box import Box
from mlops_box.errors import BoxError
from mlops_box.home import Home
from mlops_box_tui.acts.act import Act, Done, Field, Form, Plan, command_line
from mlops_box_tui.acts.models import VersionLike

if TYPE_CHECKING:
    from mlops_box.models.values import ModelVersion

_INPUTS_SHOWN = 12


def _arguments(row: VersionLike, form: Form) -> list[str]:
    return ["predict", row.ref, "--row", form["row"]]


def _curl(home: Home, row: VersionLike, form: Form) -> str | None:
    from mlops_box.operations.try_request import curl_line

    return curl_line(home, row.ref, form["row"])


def _inputs(version: ModelVersion) -> str:
    features = version.signature.features
    shown = ", ".join(f"{feature.name} {feature.type}" for feature in features[:_INPUTS_SHOWN])
    more = len(features) - _INPUTS_SHOWN
    return f"reads {shown}" + (f" and {more} more" if more > 0 else "")


def _plan(box: Box, row: VersionLike) -> Plan:
    from mlops_box.operations.try_request import example_row
    from mlops_box.serving.client import running_server

    version = box.models.get(row.ref)
    example = example_row(box, version)
    answers = (
        "the running server answers"
        if running_server(box.home.run) is not None
        else "no server answers: this program loads the version and answers itself, as the command does"
    )
    return Plan(
        (
            f"asks {version.ref} one row; {answers}",
            "it leaves a line in the prediction log, under an id that ground truth may name",
            _inputs(version),
        ),
        (Field("row", "the row, as JSON", json.dumps(example)),),
    )


def _run(box: Box, row: VersionLike, form: Form) -> Done:
    from mlops_box.operations.try_request import read_row, try_request
    from mlops_box_tui.look import number
    from mlops_box_tui.screens.answer import AnswerScreen, Asked

    asked = Asked(
        row.ref, form["row"], command_line(box.home, _arguments(row, form)), _curl(box.home, row, form)
    )
    try:
        tried = try_request(box, row.ref, read_row(form["row"]))
    except BoxError as error:
        # What is wrong with a row is what one wanted to know.
        said, wrong = f"{row.ref} did not answer: {error.message}", error
        return Done(said, screen=lambda: AnswerScreen(asked, wrong))
    shown = number(tried.prediction) if isinstance(tried.prediction, float) else str(tried.prediction)
    return Done(f"{tried.model} answers {shown}", screen=lambda: AnswerScreen(asked, tried))


def _answers(row: VersionLike) -> str | None:
    state = getattr(row, "state", None)
    return f"{row.ref} was rejected by its gates and answers nobody" if state == "rejected" else None


TRY: Act[VersionLike] = Act(
    id="try", key="I", label="try a request", danger="confirm",
    tooltip="Ask the version one row by hand and see the whole answer; it is logged as any other.",
    plan=_plan, run=_run, applies=_answers, cli=_arguments, also=_curl,
)  # fmt: skip
