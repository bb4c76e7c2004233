"""The box's one Prefect server: who comes right after another waits for it, and says so when that takes too long."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from mlops_box_flows.server import SERVER_LOCK, take_over

from mlops_box.errors import BusyError
from mlops_box.home import Home
from mlops_box.operations.locks import FileLock


def test_up_right_after_a_flow_in_place_waits_until_that_flows_server_is_gone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    leaving, coming = FileLock(home.run / SERVER_LOCK), FileLock(home.run / SERVER_LOCK)
    assert leaving.try_acquire()
    timer = threading.Timer(0.3, leaving.release)
    timer.start()
    take_over(coming, home, patience_s=10.0)
    timer.join()
    assert coming.is_held_by_somebody()
    coming.release()


def test_a_server_that_stays_refuses_the_second(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    staying = FileLock(home.run / SERVER_LOCK)
    assert staying.try_acquire()
    with pytest.raises(BusyError, match="runs already"):
        take_over(FileLock(home.run / SERVER_LOCK), home, patience_s=0.0)
    staying.release()
