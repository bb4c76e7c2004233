"""``mlops-edge serve``: keeps a server running, lets a new version prove itself, and falls back when it does not."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, replace
from typing import Callable

from .atomic import locked
from .child import WANTS_RESTART, Address, Child
from .choice import Choice, choose
from .errors import Refused
from .golden import GoldenRun
from .health import Observation, Patience, Verdict, judge
from .launch import Runtime
from .notify import notify
from .outcome import confirm, fall_back
from .place import Place
from .probe import Announced, announced, counts, is_alive, is_ready, rss_bytes
from .rescue import load_or_rescue
from .slots import read_manifest
from .state import stamp

TICK_S = 0.1
LOOK_S = 1.0
TURN_S = 5.0
HANG_S = 2.0
FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 2.0
LONGEST_LOOK_S = 30.0


@dataclass
class Life:
    """One start of a server, or the time since it turned to another slot in place."""

    choice: Choice
    began: float
    golden: GoldenRun | None
    turned: bool = False
    ready_since: float | None = None
    alive_at: float = 0.0
    looked_at: float = 0.0
    state_seen: object = None
    state_again_at: float = 0.0
    state_wait_s: float = LOOK_S


class Supervisor:
    """Runs until :meth:`stop`.

    Args:
        patience: How long a trial is watched.
        tell: Takes a line for the journal.
    """

    def __init__(
        self, place: Place, address: Address, patience: Patience, tell: Callable[[str], None]
    ) -> None:
        self._place = place
        self._address = address
        self._patience = patience
        self._tell = tell
        self._stopping = False
        self._crashes = 0
        self._counted = False
        self._told_ready = False
        self._signed_at = 0.0

    def stop(self, *_: object) -> None:
        """Finish requests and end; a signal handler."""
        self._stopping = True

    def run(self) -> int:
        """Serve until stopped.

        Raises:
            Refused: Another supervisor serves this place.
        """
        try:
            with locked(self._place.serve_lock, wait=False):
                while not self._stopping:
                    self._try_next()
        except BlockingIOError:
            raise Refused("this device is being served already", rule="serve.busy") from None
        notify("STOPPING=1")
        return 0

    def _try_next(self) -> None:
        try:
            self._next()
        except (Refused, OSError) as error:
            # A slot or a disk that fails while it is looked at: the next choice sees it, too.
            self._tell(f"starting over: {error}")
            self._pause(LOOK_S)

    def _next(self) -> None:
        choice = choose(self._place, self._tell, crashes=self._crashes, counted=self._counted)
        self._counted = False
        if choice is None:
            self._ready("nothing to serve: install a bundle")
            self._pause(LOOK_S)
            return
        self._tell(f"starting {choice.slot.version} from slot {choice.name}")
        life = self._life(choice)
        try:
            child = Child(self._place, choice.name, choice.slot, self._address)
        except OSError as error:
            if life.golden:
                life.golden.end()
            self._tell(f"cannot start: {error}")
            self._crashed()
            return
        self._watch(child, life)

    def _watch(self, child: Child, life: Life) -> None:
        try:
            while not self._stopping:
                code = child.poll()
                if code is not None:
                    self._ended(life, code)
                    return
                following = self._look(child, life)
                if following is None:
                    return
                life = following
                self._pause(TICK_S)
        finally:
            if life.golden:
                life.golden.end()
            child.stop()

    def _look(self, child: Child, life: Life) -> Life | None:
        """The life that goes on; ``None`` when the server must be stopped."""
        life = self._follow(life)
        now = time.monotonic()
        told = announced(self._place)
        here = told is not None and told.pid == child.pid
        if told is None or not here or told.slot != life.choice.name:
            if now - life.began <= (TURN_S if here else self._patience.ready_s):
                return life
            self._give_up(life, "the server does not serve its slot")
            return None
        life.alive_at = life.alive_at or now
        if life.ready_since is None and is_ready(told):
            life.ready_since = now
            self._crashes = 0
            self._ready(f"serving {life.choice.slot.version}")
        if now - life.looked_at < LOOK_S:
            return life
        life.looked_at = now
        if is_alive(told):
            life.alive_at = now
        elif now - life.alive_at > HANG_S:
            child.kill()
            self._give_up(life, "the server hangs")
            return None
        return self._judge(child, life, told) if life.choice.on_trial else life

    def _follow(self, life: Life) -> Life:
        """Begin a trial that was armed meanwhile, or turn to what was chosen otherwise; the server sees it as well."""
        if not self._is_due(life):
            return life
        state = load_or_rescue(self._place, self._tell)
        fresh = state.trial is not None and not state.trial.begun
        if not fresh and state.serving in (life.choice.name, None):
            return life
        choice = choose(self._place, self._tell)
        if choice is None or choice.name == life.choice.name:
            return life
        self._tell(f"turning to {choice.slot.version} in slot {choice.name}")
        if life.golden:
            life.golden.end()
        following = self._life(choice)
        following.turned = True
        return following

    def _is_due(self, life: Life) -> bool:
        """Whether to look at the state: at once where it was replaced, else less and less often.

        What could not be done on a full disk is tried again, and each try hashes the slots.
        """
        now, seen = time.monotonic(), stamp(self._place)
        if seen == life.state_seen and now < life.state_again_at:
            return False
        life.state_wait_s = LOOK_S if seen != life.state_seen else min(LONGEST_LOOK_S, 2 * life.state_wait_s)
        life.state_seen, life.state_again_at = seen, now + life.state_wait_s
        return True

    def _judge(self, child: Child, life: Life, server: Announced) -> Life | None:
        now, choice = time.monotonic(), life.choice
        seen = Observation(
            life.golden.poll() if life.golden else [],
            now - life.began,
            None if life.ready_since is None else now - life.ready_since,
            rss_bytes(child.pid),
            counts(server, choice.slot.number),
        )
        manifest = read_manifest(self._place.slot(choice.name))
        return self._act(life, judge(seen, manifest.limits.rss_bytes, self._patience))

    def _act(self, life: Life, verdict: Verdict) -> Life | None:
        version = life.choice.slot.version
        if verdict.what == "hold":
            return life
        if verdict.what == "good":
            return self._confirm(life)
        if verdict.what == "bad":
            self._fall_back(version, verdict.why)
            return None
        self._give_up(life, verdict.why)
        return None

    def _confirm(self, life: Life) -> Life | None:
        version = life.choice.slot.version
        try:
            confirm(self._place)
        except OSError as error:
            self._tell(f"{version} cannot be confirmed: {error}; trying again")
            return life
        except Refused as refused:
            self._fall_back(version, refused.message)
            return None
        self._tell(f"{version} is confirmed")
        life.choice = replace(life.choice, on_trial=False)
        return life

    def _fall_back(self, version: str, why: str) -> None:
        self._tell(f"{version} falls back: {why}")
        try:
            fall_back(self._place, why)
        except OSError as error:
            # Its attempts run out instead, and none is made that cannot be counted.
            self._tell(f"this cannot be written down: {error}")

    def _give_up(self, life: Life, why: str) -> None:
        """Stop this start. A trial has its next attempt, if one is left."""
        self._tell(f"{life.choice.slot.version}: {why}")
        self._crashes += life.ready_since is None

    def _ended(self, life: Life, code: int) -> None:
        if code == WANTS_RESTART:
            # The attempt that was counted for turning in place is the one of this restart.
            self._counted = life.turned and life.choice.on_trial
            return
        self._tell(f"the server of {life.choice.slot.version} ended with code {code}")
        self._crashed()

    def _crashed(self) -> None:
        self._crashes += 1
        if self._crashes > 1:
            self._pause(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (self._crashes - 2)))

    def _life(self, choice: Choice) -> Life:
        golden = None
        if choice.on_trial:
            folder = self._place.slot(choice.name)
            golden = GoldenRun(folder, Runtime.of(self._place, choice.slot), read_manifest(folder).limits)
        return Life(choice, time.monotonic(), golden)

    def _ready(self, status: str) -> None:
        first = "" if self._told_ready else "READY=1\n"
        self._told_ready = True
        notify(f"{first}STATUS={status}")

    def _sign_of_life(self) -> None:
        now = time.monotonic()
        if now - self._signed_at >= LOOK_S:
            self._signed_at = now
            notify("WATCHDOG=1")

    def _pause(self, seconds: float) -> None:
        """Sleep, telling systemd that we are alive, and wake soon when stopped."""
        end = time.monotonic() + seconds
        while True:
            self._sign_of_life()
            left = end - time.monotonic()
            if left <= 0 or self._stopping:
                return
            time.sleep(min(left, TICK_S))


def serve(place: Place, address: Address, patience: Patience, tell: Callable[[str], None]) -> int:
    """Supervise until SIGTERM or SIGINT; the exit code."""
    supervisor = Supervisor(place.require(), address, patience, tell)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.stop)
    return supervisor.run()
