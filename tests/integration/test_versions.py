"""Many models and versions in one process: loaded once, kept while there is room, healed when repaired."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest
from serving_kit import RATE_PROJECT, register_projects, register_rate

from mlops_box.box import Box
from mlops_box.clock import SystemClock
from mlops_box.errors import BoxError, IntegrityError, NotFoundError, UsageError
from mlops_box.ids import parse_ref
from mlops_box.models.values import PACKED_FILE, ModelVersion
from mlops_box.serving import slot_pool, versions
from mlops_box.serving.memory import spare_budget
from mlops_box.serving.metrics import Metrics
from mlops_box.serving.prediction_log import PredictionLog
from mlops_box.serving.predictor import Predictor
from mlops_box.serving.router import Router
from mlops_box.serving.slot import Slot, load_slot
from mlops_box.serving.slot_pool import SlotPool

MIB = 1 << 20


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box.open(tmp_path / "home", actor="tester") as opened:
        register_projects(opened)
        yield opened


@pytest.fixture
def server(box: Box) -> Iterator[Box]:
    """The same box, as another process sees it."""
    with Box.open(box.home, actor="server") as opened:
        yield opened


def router_of(box: Box, *, spare_bytes: int = 64 * MIB, time: Time | None = None) -> Router:
    clock = time if time is not None else monotonic
    return Router(box.db, box.models, box.projects, spare_bytes=spare_bytes, monotonic_s=clock)


def numbers(router: Router) -> set[int]:
    return {number for _, number in router.loaded_versions()}


def damage(box: Box, version: ModelVersion) -> tuple[Path, bytes]:
    path = box.models.path(version, PACKED_FILE)
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:-1] + b"?")
    return path, whole


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> SlotPool:
    """A pool in which every version takes as many MiB as its number says."""
    monkeypatch.setattr(slot_pool, "resident_bytes", lambda: 0)

    class Named:
        def __init__(self, number: int):
            self.number = number

    return SlotPool(
        lambda key: (Named(key[1]), key[1] * MIB // slot_pool._TIMES_FILE),  # type: ignore[arg-type,return-value]
        budget_bytes=10 * MIB, monotonic_s=Time(),
    )  # fmt: skip


def test_the_longest_unused_goes_first_and_what_served_before_goes_last(pool: SlotPool) -> None:
    clock = pool._monotonic_s
    assert isinstance(clock, Time)
    for now_s, number in enumerate((3, 4, 5)):
        clock.now_s = now_s
        pool.take(("m", number))
    assert pool.shrink(serving={("m", 5)}, undo=()) == []
    clock.now_s = 10
    assert pool.find(("m", 3)) is not None
    assert pool.shrink(serving=(), undo=()) == [("m", 4)]
    clock.now_s = 20
    pool.take(("m", 6))
    assert pool.shrink(serving=(), undo={("m", 3)}) == [("m", 5)]
    assert pool.keys == {("m", 3), ("m", 6)}
    pool.take(("m", 8))
    assert pool.shrink(serving={("m", 8)}, undo={("m", 3)}) == []
    pool.take(("m", 9))
    assert pool.shrink(serving=(), undo={("m", 3)}) == [("m", 6), ("m", 8), ("m", 9)]
    assert pool.keys == {("m", 3)}


def test_requests_that_come_together_load_a_version_once(
    box: Box, server: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_rate(box, 1.0)
    register_rate(box, 2.0)
    loads: list[str] = []
    inside = threading.Event()
    go_on = threading.Event()

    def slow_load(models: object, version: ModelVersion, project: object, **_: object) -> Slot:
        loads.append(version.ref)
        inside.set()
        assert go_on.wait(30)
        return load_slot(box.models, version, box.projects.for_model(version.model))

    monkeypatch.setattr(versions, "load_slot", slow_load)
    router = router_of(server)
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(router.load, parse_ref("rates@1")) for _ in range(8)]
        assert inside.wait(30)
        go_on.set()
        found = {id(item.result(30)) for item in waiting}
    assert len(found) == 1
    assert loads == ["rates@1"]


def test_loading_one_version_keeps_nobody_from_another(
    box: Box, server: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_rate(box, 1.0)
    register_rate(box, 2.0)
    inside, go_on = threading.Event(), threading.Event()

    def load(models: object, version: ModelVersion, project: object, **_: object) -> Slot:
        if version.number == 1:
            inside.set()
            assert go_on.wait(30)
        return load_slot(box.models, version, box.projects.for_model(version.model))

    monkeypatch.setattr(versions, "load_slot", load)
    router = router_of(server)
    with ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(router.load, parse_ref("rates@1"))
        try:
            assert inside.wait(30)
            router.refresh()
            champion = router.champion("rates")
            assert champion is not None
            assert champion.ref == "rates@2"
            register_rate(box, 3.0)
            router.refresh()
            assert router.load(parse_ref("rates@3")).ref == "rates@3"
            assert router.load(parse_ref("rates@2")).ref == "rates@2"
        finally:
            go_on.set()
        assert hanging.result(30).ref == "rates@1"


def test_a_version_is_found_by_number_and_by_alias_once_it_is_in_memory(box: Box, server: Box) -> None:
    for weight in (1.0, 2.0, 3.0):
        register_rate(box, weight)
    router = router_of(server)
    router.refresh()
    assert router.loaded(parse_ref("rates@champion")) is router.champion("rates")
    assert router.loaded(parse_ref("rates@3")) is router.champion("rates")
    assert router.loaded(parse_ref("rates@last_good")) is None
    by_alias = router.load(parse_ref("rates@last_good"))
    assert by_alias.ref == "rates@2"
    assert router.loaded(parse_ref("rates@last_good")) is router.loaded(parse_ref("rates@2")) is by_alias
    with pytest.raises(NotFoundError):
        router.load(parse_ref("rates@nobody"))


def test_the_champion_before_is_kept_warm_while_there_is_room(box: Box, server: Box) -> None:
    for weight in (1.0, 2.0, 3.0):
        register_rate(box, weight)
    roomy, tight = router_of(server), router_of(server, spare_bytes=0)
    for router in (roomy, tight):
        router.refresh()
        router.warm_undo()
        router.warm_undo()
    assert numbers(roomy) == {2, 3}
    assert numbers(tight) == {3}
    register_rate(box, 4.0)
    roomy.refresh()
    assert numbers(roomy) == {2, 3, 4}
    box.models.roll_back("rates", reason="test")
    roomy.refresh()
    champion = roomy.champion("rates")
    assert champion is not None
    assert champion.ref == "rates@3"


def test_an_asked_version_answers_under_the_contract_that_counts_now(box: Box, server: Box) -> None:
    register_rate(box, 1.0)
    register_rate(box, 2.0)
    router = router_of(server)
    router.refresh()
    old = router.load(parse_ref("rates@1"))
    register_projects(box, rates=RATE_PROJECT.replace("max = 100", "max = 50"))
    router.refresh()
    for ref in ("rates@1", "rates@2"):
        slot = router.loaded(parse_ref(ref))
        assert slot is not None
        with pytest.raises(BoxError, match="is above 50"):
            slot.door.check([{"a": 90.0, "b": 1.0}])
    assert old.model is router.load(parse_ref("rates@1")).model


def test_limits_are_those_of_the_models_own_declaration(box: Box) -> None:
    register_projects(box, rates=f"{RATE_PROJECT}[serve]\nmax_rows = 3\nmax_queued = 5\n")
    slot = load_slot(box.models, register_rate(box), box.projects.for_model("rates"))
    assert (slot.door.max_rows, slot.max_queued) == (3, 5)
    with pytest.raises(UsageError, match="more than the 3"):
        slot.door.check([{"a": 1.0, "b": 1.0}] * 4)


def test_a_damaged_champion_is_tried_again_when_its_file_is_repaired(box: Box, server: Box) -> None:
    register_rate(box, 1.0)
    time = Time()
    router = router_of(server, time=time)
    router.refresh()
    bad = register_rate(box, 2.0)
    path, whole = damage(box, bad)
    router.refresh()
    (route,) = router.routes()
    assert (route.champion, route.serving) == (2, 1)
    assert "damaged" in str(route.problem)
    assert router.refresh() is False, "it is not read again while nothing changed"
    path.write_bytes(whole)
    assert router.refresh()
    assert [route.is_warm for route in router.routes()] == [True]
    assert router.champion("rates") is router.loaded(parse_ref("rates@2"))


def test_a_broken_champion_is_tried_again_after_ever_longer_waits(
    box: Box, server: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_rate(box, 1.0)
    tries: list[float] = []
    time = Time()

    def load(models: object, version: ModelVersion, project: object, **_: object) -> Slot:
        tries.append(time.now_s)
        if time.now_s < 12:
            raise IntegrityError("memory is short")
        return load_slot(box.models, version, box.projects.for_model(version.model))

    monkeypatch.setattr(versions, "load_slot", load)
    router = router_of(server, time=time)
    for second in range(17):
        time.now_s = float(second)
        router.refresh()
    assert tries == [0.0, 1.0, 3.0, 7.0, 15.0]
    assert [route.is_warm for route in router.routes()] == [True]


def test_a_broken_version_that_is_asked_for_is_tried_once_a_second_at_most(
    box: Box, server: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_rate(box, 1.0, wrong=True, promote=False)
    tries: list[float] = []
    time = Time()

    def load(models: object, version: ModelVersion, project: object, **_: object) -> Slot:
        tries.append(time.now_s)
        return load_slot(box.models, version, box.projects.for_model(version.model))

    monkeypatch.setattr(versions, "load_slot", load)
    router = router_of(server, time=time)
    for moment in (0.0, 0.3, 0.9, 1.1, 1.5, 2.2):
        time.now_s = moment
        with pytest.raises(IntegrityError, match="golden"):
            router.load(parse_ref("rates@1"))
    assert tries == [0.0, 1.1, 2.2]


def test_a_swap_reports_what_the_new_version_answers_differently(box: Box, server: Box) -> None:
    register_rate(box, 1.0, 1.0)
    router = router_of(server)
    router.refresh()
    first = router.last_swap("rates")
    assert first is not None
    assert (first.before, first.rows) == (None, 0)
    register_rate(box, 1.0, 2.0)
    router.refresh()
    report = router.last_swap("rates")
    assert report is not None
    # Golden rows (1, 2) and (3, missing): 3 became 5, 3 stayed.
    assert (report.before, report.after, report.rows, report.changed, report.largest) == (1, 2, 2, 1, 2.0)
    assert "1 of 2 golden rows are answered differently, by 2 at most" in report.text()


async def test_a_version_that_is_let_go_is_freed_at_once_without_the_collector(box: Box, server: Box) -> None:
    register_rate(box, 1.0)
    log = PredictionLog(box.home.predictions, box.db, SystemClock())
    predictor = Predictor(log, SystemClock(), Metrics())
    router = router_of(server, spare_bytes=0)
    gc.collect()
    gc.disable()
    try:
        gone: list[weakref.ref[object]] = []
        for weight in (2.0, 3.0, 4.0):
            router.refresh()
            slot = router.champion("rates")
            assert slot is not None
            await predictor.predict(slot, [{"a": 1.0, "b": 1.0}], "champion", 0.0)
            gone += [weakref.ref(slot), weakref.ref(slot.model)]
            del slot
            register_rate(box, weight)
        router.refresh()
        assert [reference() for reference in gone] == [None] * 6
    finally:
        gc.enable()
        log.close()


def test_the_budget_is_read_from_the_environment_or_follows_the_machine() -> None:
    assert spare_budget({"MLOPS_BOX_SPARE_MEMORY": "512MiB"}) == 512 * MIB
    assert 256 * MIB <= spare_budget({}) <= 4096 * MIB
    with pytest.raises(UsageError, match="is no size"):
        spare_budget({"MLOPS_BOX_SPARE_MEMORY": "lots"})
    assert json.dumps(spare_budget({"MLOPS_BOX_SPARE_MEMORY": "0MiB"})) == "0"
