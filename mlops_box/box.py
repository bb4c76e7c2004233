"""The composition root: opens a home and hands out the rooms."""

from __future__ import annotations

import getpass
import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mlops_box.clock import Clock, SystemClock
from mlops_box.db import Database
from mlops_box.epochs import EpochStore
from mlops_box.errors import NotFoundError
from mlops_box.home import Home
from mlops_box.ledger import Ledger
from mlops_box.objects import ObjectStore
from mlops_box.runs import RunStore

if TYPE_CHECKING:
    from mlops_box.data.store import SnapshotStore
    from mlops_box.edge.arrivals import ArrivalStore
    from mlops_box.edge.devices import DeviceStore
    from mlops_box.features.archive import FeatureArchive
    from mlops_box.features.online import OnlineStore
    from mlops_box.features.push import Pusher
    from mlops_box.features.store import DefinitionStore
    from mlops_box.models.approvals import ApprovalStore
    from mlops_box.models.store import ModelStore
    from mlops_box.monitoring.alerts import AlertStore
    from mlops_box.monitoring.decisions import DecisionStore
    from mlops_box.monitoring.windows import WindowStore
    from mlops_box.project import ProjectRegistry
    from mlops_box.serving.prediction_store import PredictionStore
    from mlops_box.serving.rollout.store import RolloutStore
    from mlops_box.serving.tokens import TokenStore


class Box:
    """One home, opened. Rooms are made when first asked for, so that opening stays cheap.

    Use as a context manager, or call :meth:`close`.
    """

    def __init__(self, home: Home, *, db: Database, clock: Clock, actor: str):
        self.home = home
        self.db = db
        self.clock = clock
        self.actor = actor
        self.ledger = Ledger(db, clock, actor)
        self.objects = ObjectStore(home.objects, db, clock)
        self.runs = RunStore(db, self.ledger, clock)
        self.epochs = EpochStore(db, clock)

    @classmethod
    def open(
        cls,
        home: Home | Path,
        *,
        clock: Clock | None = None,
        actor: str | None = None,
        read_only: bool = False,
    ) -> Box:
        """Open a home, making it (and migrating it) unless ``read_only``.

        Args:
            home: The folder.
            clock: Time; the machine's when ``None``.
            actor: Who acts, for the ledger; the user's login name when ``None``.
            read_only: Only look: nothing is created, migrated or written.

        Raises:
            StorageError: The folder or the database cannot be used.
            IntegrityError: The database is damaged or was made by a newer mlops-box.
            NotFoundError: ``read_only`` and there is no box yet.
        """
        place = home if isinstance(home, Home) else Home(home.expanduser().absolute())
        clock = clock or SystemClock()
        if not read_only:
            place.create()
        elif not place.database.exists():
            raise NotFoundError(
                f"there is no box in {place.root}", hint="mlops-box demo, or mlops-box init, makes one"
            )
        db = Database(place.database, clock=clock, read_only=read_only)
        return cls(place, db=db, clock=clock, actor=actor or login_name())

    @cached_property
    def projects(self) -> ProjectRegistry:
        from mlops_box.project import ProjectRegistry

        return ProjectRegistry(self.db, self.ledger, self.clock)

    @cached_property
    def snapshots(self) -> SnapshotStore:
        from mlops_box.data.store import SnapshotStore

        return SnapshotStore(self.db, self.objects, self.ledger, self.clock)

    @cached_property
    def features(self) -> DefinitionStore:
        from mlops_box.features.store import DefinitionStore

        return DefinitionStore(self.db, self.ledger, self.clock)

    @cached_property
    def online(self) -> OnlineStore:
        from mlops_box.features.online import OnlineStore

        return OnlineStore(self.home.features)

    @cached_property
    def feature_archive(self) -> FeatureArchive:
        from mlops_box.features.archive import FeatureArchive

        return FeatureArchive(self.db, self.objects, self.ledger, self.clock, self.online)

    @cached_property
    def pusher(self) -> Pusher:
        from mlops_box.features.push import Pusher
        from mlops_box.models.pins import active_definitions

        return Pusher(
            self.online,
            lambda: active_definitions(self.db, self.features),
            self.clock,
            scratch=self.home.scratch,
        )

    @cached_property
    def models(self) -> ModelStore:
        from mlops_box.models.store import ModelStore

        return ModelStore(self.db, self.objects, self.ledger, self.clock)

    @cached_property
    def approvals(self) -> ApprovalStore:
        from mlops_box.models.approvals import ApprovalStore

        return ApprovalStore(self.db, self.ledger, self.clock)

    @cached_property
    def predictions(self) -> PredictionStore:
        from mlops_box.serving.prediction_store import PredictionStore

        return PredictionStore(self.home.predictions, self.db, self.objects, self.ledger, self.clock)

    @cached_property
    def rollouts(self) -> RolloutStore:
        from mlops_box.serving.rollout.store import RolloutStore

        return RolloutStore(self.db, self.models, self.ledger, self.clock)

    @cached_property
    def tokens(self) -> TokenStore:
        from mlops_box.serving.tokens import TokenStore

        return TokenStore(self.db, self.ledger, self.clock)

    @cached_property
    def devices(self) -> DeviceStore:
        from mlops_box.edge.devices import DeviceStore

        return DeviceStore(self.db, self.ledger, self.clock)

    @cached_property
    def arrivals(self) -> ArrivalStore:
        from mlops_box.edge.arrivals import ArrivalStore

        return ArrivalStore(self.db, self.clock)

    @cached_property
    def windows(self) -> WindowStore:
        from mlops_box.monitoring.windows import WindowStore

        return WindowStore(self.db, self.objects, self.clock)

    @cached_property
    def alerts(self) -> AlertStore:
        from mlops_box.monitoring.alerts import AlertStore

        return AlertStore(self.db, self.ledger, self.clock)

    @cached_property
    def decisions(self) -> DecisionStore:
        from mlops_box.monitoring.decisions import DecisionStore

        return DecisionStore(self.db, self.ledger, self.clock)

    def close(self) -> None:
        if "online" in self.__dict__:
            self.online.close()
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def login_name() -> str:
    """The user's login name, or the numeric id where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
