"""The real server under load while a new version takes over, or is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rollout_kit import Kind, Load, declare, propose, register_champion
from serving_kit import Server, running, start_server

from mlops_box.box import Box
from mlops_box.operations.rollout import abort, pause, resume
from mlops_box.operations.why import explain
from mlops_box.serving.rollout.states import Rollout

CANARY = "canary = [20, 50]"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box.open(tmp_path / "home", actor="tester") as opened:
        declare(opened, CANARY)
        register_champion(opened)
        yield opened


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, Server, Load]]:
    """One server under load, for one candidate after the other."""
    with Box.open(tmp_path_factory.mktemp("busy") / "home", actor="tester") as opened:
        declare(opened, CANARY)
        register_champion(opened)
        with running(opened.home.root) as server, Load(lambda: server) as load:
            waited(lambda: load.answered["rates@1"] > 20)
            yield opened, server, load


def waited(condition: Callable[[], bool], *, limit_s: float = 90.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def ended(box: Box, rollout: Rollout) -> Rollout:
    waited(lambda: not box.rollouts.get(rollout.id).is_open)
    return box.rollouts.get(rollout.id)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("raises", "raised"),
        ("nan", "not finite"),
        ("wrong_shape", "wrong shape"),
        ("hangs", "timed out"),
        ("slow", "latency"),
        ("constant", "predictions"),
        ("flipped", "quality"),
    ],
)
def test_a_poisoned_candidate_is_reverted_and_no_request_fails(
    busy: tuple[Box, Server, Load], kind: Kind, reason: str
) -> None:
    box, _, load = busy
    load.expect(kind)
    load.truth = kind == "flipped"
    rollout = ended(box, propose(box, kind))
    before = load.answered.total()
    waited(lambda: load.answered.total() > before + 20)
    load.truth = False
    assert rollout.state == "rolled_back", rollout.reason
    assert reason in rollout.reason
    assert load.failed == []
    assert box.models.aliases("rates") == {"champion": 1}
    assert reason in "\n".join(explain(box, rollout.id).lines)
    if kind in ("raises", "nan", "wrong_shape", "hangs"):
        assert load.answered[rollout.ref] == 0
        found = box.rollouts.evidence(rollout.id)[("canary", 0)].candidate
        assert found.requests <= 20


def test_a_rollback_by_hand_in_the_middle_is_seen_at_once(busy: tuple[Box, Server, Load]) -> None:
    box, server, load = busy
    load.expect("good")
    rollout = propose(box, "good")
    waited(lambda: load.answered[rollout.ref] > 5)
    abort(box, "rates", reason="enough")
    waited(lambda: not _answers(server, rollout.ref))
    assert load.failed == []


def test_a_good_candidate_becomes_champion_through_shadow_and_canary(
    busy: tuple[Box, Server, Load],
) -> None:
    box, server, load = busy
    load.expect("good")
    declare(box, 'shadow = "1s"\n' + CANARY)
    rollout = ended(box, propose(box, "good"))
    assert rollout.state == "champion", rollout.reason
    for variant in ("shadow", "canary", "champion"):
        counted = f'variant="{variant}",version="{rollout.number}"'
        waited(lambda counted=counted: counted in server.call("GET", "/metrics")[2])  # type: ignore[misc]
    assert load.failed == []
    assert box.models.aliases("rates") == {"champion": rollout.number, "last_good": 1}
    evidence = box.rollouts.evidence(rollout.id)
    assert set(evidence) == {("shadow", 0), ("canary", 0), ("canary", 1)}
    assert evidence["shadow", 0].candidate.compared >= 100
    acts = [entry.act for entry in box.ledger.entries(subject=f"rollout:{rollout.id}")]
    assert acts[0] == "rollout.champion"
    assert box.ledger.first_broken() is None


def test_workers_agree_on_who_meets_the_candidate_and_when_it_is_over(box: Box) -> None:
    declare(box, CANARY + '\nkey = "a"')
    server_with_workers = running(box.home.root, "--workers", "2")
    with server_with_workers as server, Load(lambda: server, kind="raises", clients=6) as load:
        waited(lambda: load.answered["rates@1"] > 20)
        assert ended(box, propose(box, "raises")).state == "rolled_back"
        load.expect("good")
        rollout = propose(box, "good")
        waited(lambda: load.answered[rollout.ref] > 0)
        rows = [{"a": 50.5 + step} for step in range(20)]
        pause(box, "rates", reason="to look")
        waited(lambda: box.rollouts.get(rollout.id).paused_at is not None)
        by = [{server.predict("rates", row)[2]["model"] for _ in range(6)} for row in rows]
        assert all(len(versions) == 1 for versions in by), "new connections, either worker, the same version"
        assert set().union(*by) == {"rates@1", rollout.ref}
        resume(box, "rates", reason="enough seen")
        assert ended(box, rollout).state == "champion"
    assert load.failed == []
    processes = box.db.read(
        "SELECT DISTINCT process FROM rollout_evidence WHERE rollout_id = ?", (rollout.id,)
    )
    assert len(processes) == 2


def test_a_killed_server_goes_on_with_the_rollout_where_it_was(box: Box) -> None:
    servers = [start_server(box.home.root)]
    try:
        with Load(lambda: servers[-1], kind="good", forgiving=True) as load:
            rollout = propose(box, "good")
            waited(lambda: box.rollouts.get(rollout.id).state == "canary")
            waited(lambda: bool(box.rollouts.evidence(rollout.id)))
            servers[0].kill()
            at_kill = box.rollouts.get(rollout.id)
            servers.append(start_server(box.home.root))
            assert at_kill.is_open
            assert ended(box, rollout).state == "champion"
    finally:
        for server in servers:
            if server.process.poll() is None:
                server.kill()
    assert load.answered["rates@2"] > 0
    assert box.ledger.first_broken() is None
    processes = box.db.read(
        "SELECT DISTINCT process FROM rollout_evidence WHERE rollout_id = ?", (rollout.id,)
    )
    assert len(processes) == 2


def _answers(server: Server, ref: str) -> bool:
    """Whether one of many requests is answered by that version."""
    return any(server.predict("rates", {"a": 60.0 + step})[2]["model"] == ref for step in range(30))
