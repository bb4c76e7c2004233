"""Checks of the home, the ports, the clock and what runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping

import psutil

from mlops_box.box import Box
from mlops_box.clock import Clock, isoformat
from mlops_box.errors import BoxError, NotFoundError
from mlops_box.home import Home
from mlops_box.operations.doctor.checks import Check, failed, ok, warning
from mlops_box.operations.prefect_env import TELEMETRY_OFF, answers, external_api, port_is_free
from mlops_box.operations.supervisor.control import DEFAULT_PORT
from mlops_box.operations.supervisor.state import read_state
from mlops_box.units import format_size

FEW_BYTES = 100 * 1000 * 1000
SOME_BYTES = 1000 * 1000 * 1000


def check_home(home: Home) -> Check:
    """It, or the folder it would be made in, can be written to."""
    place = home.root
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(b"x" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return failed(
            "home",
            f"{place} cannot be written to: {error.strerror}",
            "set MLOPS_BOX_HOME to a folder of yours",
        )
    if home.root.exists() and home.root.stat().st_mode & 0o077:
        return warning("home", f"others can look into {home.root}", f"chmod 700 {home.root}")
    return ok("home", f"{home.root} can be written to" + ("" if home.root.exists() else " (not made yet)"))


def check_space(home: Home) -> Check:
    place = home.root
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{format_size(free)} free under {place}"
    if free < FEW_BYTES:
        return failed("space", text, "free some space, or move the home: MLOPS_BOX_HOME")
    return warning("space", text, "free some space") if free < SOME_BYTES else ok("space", text)


def check_ports(home: Home) -> Check:
    state = read_state(home)
    if state is not None and state.is_alive():
        if answers(f"{state.url}/livez"):
            return ok("ports", f"the box listens on {state.url}")
        return failed("ports", f"{state.url} does not answer", f"see {home.logs / 'server.log'}")
    if port_is_free(DEFAULT_PORT):
        return ok("ports", f"port {DEFAULT_PORT} is free")
    return warning("ports", f"port {DEFAULT_PORT} is in use by another program", "mlops-box up --port 8322")


def check_prefect(environ: Mapping[str, str]) -> Check:
    """The user's own Prefect server, where one is named."""
    url = external_api(environ)
    if url is None:
        return ok("prefect", "the box runs its own Prefect server, on 127.0.0.1")
    if answers(f"{url.rstrip('/')}/health", timeout_s=5.0):
        return ok("prefect", f"PREFECT_API_URL answers: {url}")
    return failed(
        "prefect", f"PREFECT_API_URL does not answer: {url}", "start that server, or unset PREFECT_API_URL"
    )


def check_telemetry(home: Home) -> Check:
    """What runs was started with telemetry off; what will be started, will be."""
    state = read_state(home)
    running = (
        [p for p in state.processes if p.pid is not None] if state is not None and state.is_alive() else []
    )
    for process in running:
        try:
            environment = psutil.Process(process.pid).environ()
        except psutil.Error:
            continue
        missing = [name for name, value in TELEMETRY_OFF.items() if environment.get(name) != value]
        if missing:
            return failed(
                "telemetry", f"{process.name} runs without {missing[0]}", "mlops-box down, then mlops-box up"
            )
    whose = f"off in {len(running)} running processes" if running else "off for everything the box starts"
    return ok("telemetry", whose)


def check_clock(home: Home, clock: Clock) -> Check:
    """Time that runs backwards breaks schedules, freshness and the order of ids."""
    now = clock.now()
    if now.year < 2026:
        return failed("clock", f"the clock says {isoformat(now)}", "set the clock: timedatectl set-ntp true")
    try:
        with Box.open(home, clock=clock, read_only=True) as box:
            newest = box.ledger.entries(limit=1)
    except BoxError:
        newest = []
    if newest and newest[0].at > now:
        return failed(
            "clock",
            f"the clock says {isoformat(now)}, but the ledger's newest entry is of {isoformat(newest[0].at)}",
            "set the clock: timedatectl set-ntp true",
        )
    return ok("clock", f"{isoformat(now)} UTC")


def check_box(home: Home, clock: Clock) -> Check:
    """The database opens, and no run waits for a dead process."""
    try:
        with Box.open(home, clock=clock, read_only=True) as box:
            stale = [run for run in box.runs.list(state="running", limit=1000) if not run.owner.is_alive()]
    except NotFoundError:
        return ok("box", "no box yet: the first command makes one")
    except BoxError as error:
        return failed("box", error.message, error.hint or "mlops-box verify")
    if stale:
        return warning(
            "box", f"{len(stale)} runs are open although their process is gone", "mlops-box up closes them"
        )
    return ok("box", "the database opens; no run is left over")
