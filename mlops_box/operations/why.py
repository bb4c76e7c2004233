"""Why is it so? Evidence, limits, values and what would have changed the outcome, for anything that has an id."""

from __future__ import annotations

from collections.abc import Callable

from mlops_box.box import Box
from mlops_box.errors import NotFoundError, UsageError
from mlops_box.operations import why_made, why_rollout, why_watched
from mlops_box.operations.explanation import Explanation

_KINDS = "an alert, decision, rollout, run or snapshot id, a prediction id, or a version like name@3"


def explain(box: Box, subject: str) -> Explanation:
    """Explain one thing.

    Args:
        subject: An id, or an unambiguous beginning of one, of an alert, decision, rollout, run or snapshot; a prediction id;
            ``name@3``, ``name@alias`` or a model's name (its champion).

    Raises:
        NotFoundError: Nothing has this id.
        UsageError: Several things have an id that begins so.
    """
    subject = subject.strip()
    if not subject:
        raise UsageError("why what?", hint=f"name {_KINDS}")
    if "@" in subject or subject in box.models.models():
        return why_made.explain_version(box, subject)
    prediction = box.predictions.find(subject)
    if prediction is not None:
        return why_made.explain_prediction(box, prediction)
    tries: list[tuple[str, str, Callable[[Box, str], Explanation]]] = [
        ("alert", "alerts", why_watched.explain_alert),
        ("decision", "decisions", why_watched.explain_decision),
        ("rollout", "rollouts", why_rollout.explain_rollout),
        ("run", "runs", why_made.explain_run),
        ("snapshot", "snapshots", why_made.explain_snapshot),
    ]
    found = [
        (kind, row["id"], tell)
        for kind, table, tell in tries
        for row in box.db.read(
            f"SELECT id FROM {table} WHERE substr(id, 1, ?) = ? LIMIT 3", (len(subject), subject)
        )
    ]
    exact = [item for item in found if item[1] == subject]
    chosen = exact or found
    if not chosen:
        raise NotFoundError(f"nothing in this box is called {subject!r}", hint=f"name {_KINDS}")
    if len(chosen) > 1:
        shown = ", ".join(f"{kind} {id_}" for kind, id_, _ in chosen[:4])
        raise UsageError(f"{subject!r} may mean {shown}", hint="write more of the id")
    _, id_, tell = chosen[0]
    return tell(box, id_)
