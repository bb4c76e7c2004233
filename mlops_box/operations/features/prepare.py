"""What a check or a training needs of a project's features: the declaration with them as columns, and their values."""

from __future__ import annotations

import contextlib
import difflib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_box.box import Box
from mlops_box.errors import ProjectError
from mlops_box.project import PROJECT_FILE, ColumnRule, LoadedProject, Model, RegisteredProject
from mlops_box.project.load import line_of_key

if TYPE_CHECKING:
    from mlops_box.data.values import Snapshot
    from mlops_box.features.attach import Attachment, Attachments
    from mlops_box.features.define import Defined
    from mlops_box.features.definition import Definition


@dataclass(frozen=True)
class Prepared:
    """A project whose features are known.

    Attributes:
        project: As declared, but with ``view.feature`` as columns ``view__feature`` of model and contract.
        used: The definitions that the model's features come from, by view.
        defined: All that the project declares; ``None`` where a snapshot says which definitions count.
        folder: For the observations.
    """

    project: LoadedProject
    used: Mapping[str, Definition] = field(default_factory=dict)
    defined: Defined | None = None
    folder: Path | None = None

    @property
    def pins(self) -> dict[str, str]:
        """View to digest, as a version's lineage tells."""
        return {name: definition.digest for name, definition in self.used.items()}

    def lineage(self) -> dict[str, Any]:
        """What a snapshot tells of its features: definitions and the files that their events came from."""
        if not self.used or self.defined is None:
            return {}
        read = {source.name for definition in self.used.values() for source in definition.sources}
        sources = {name: source.lineage() for name, source in self.defined.sources.items() if name in read}
        return {"features": self.pins, "feature_sources": sources}

    def register(self, box: Box) -> None:
        """Keep every definition that the project declares."""
        for definition in self.defined.definitions.values() if self.defined else ():
            box.features.register(definition)

    def attachments(self, box: Box) -> Attachments | None:
        """The observations of the used views, of the sources' files and of what was pushed, computed now.

        ``None`` where the model uses none.
        """
        declared = self.project.declaration
        if not self.used or self.defined is None or self.folder is None or declared.data.time is None:
            return None
        own = {name: read.events for name, read in self.defined.sources.items()}
        views = [
            _observed(box, definition, own, declared.model.features, self.folder)
            for definition in self.used.values()
        ]
        return _at(declared.data.time, views)


def attachments_of(
    box: Box, lineage: Mapping[str, Any], project: RegisteredProject, features: Sequence[str], folder: Path
) -> Attachments | None:
    """The observations by which a model version's features are joined to new rows, by the definitions that it pins.

    Args:
        box: Knows the definitions and what was pushed.
        lineage: The version's.
        project: Whose files hold the events.
        features: The version's inputs.
        folder: For events and observations.

    Raises:
        NotFoundError: A definition is not in this box.
        SourceError: The events cannot be read.
    """
    from mlops_box.features.sources import declaration_of, read_source

    time = project.declaration.data.time
    views = []
    for definition in box.features.pinned(lineage).values():
        work = folder / definition.name
        work.mkdir(mode=0o700, exist_ok=True)
        own = {
            source.name: read_source(
                source.name, declaration_of(source), folder=project.folder, scratch=work
            ).events
            for source in definition.sources
        }
        views.append(_observed(box, definition, own, features, work))
    return _at(time, views) if views and time is not None else None


def _observed(
    box: Box, definition: Definition, own: Mapping[str, Path], features: Sequence[str], folder: Path
) -> Attachment:
    from mlops_box.features.attach import Attachment
    from mlops_box.features.compute import write_observations
    from mlops_box.features.sources import with_pushed

    events = {
        source.name: with_pushed(
            source, own[source.name], box.feature_archive.pushed(definition, source), scratch=folder
        )
        for source in definition.sources
    }
    written = write_observations(definition, events, folder / f"{definition.name}.parquet", scratch=folder)
    chosen = tuple(item for item in definition.features if definition.in_model(item) in features)
    return Attachment(definition, (written.path,), chosen)


def _at(time: str, views: Sequence[Attachment]) -> Attachments:
    from mlops_box.features.attach import Attachments

    return Attachments(time, tuple(views))


@contextlib.contextmanager
def prepared(box: Box, project: LoadedProject) -> Iterator[Prepared]:
    """Check all that a project declares of features; nothing is registered yet.

    Raises:
        ProjectError: A definition is wrong, or the model names a feature that no view has; with file and line.
        SourceError: A source cannot be read.
        UsageError: A view of this name belongs to another project.
    """
    if not project.declaration.features.views:
        yield Prepared(project)
        return
    from mlops_box.features.define import define

    folder = Path(tempfile.mkdtemp(prefix="features-", dir=box.home.scratch))
    try:
        proven = {definition.digest for definition in box.features.list(project=project.name, every=True)}
        defined = define(project, scratch=folder, proven=proven)
        for definition in defined.definitions.values():
            box.features.check_unrivalled(definition)
        resolved, used = with_columns(project, defined.definitions)
        yield Prepared(resolved, used, defined, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def prepared_from(box: Box, project: LoadedProject, snapshot: Snapshot) -> Prepared:
    """The same for a snapshot that has the features in it, by the definitions that it was made with.

    Raises:
        ProjectError: The model names a feature that the snapshot's definitions do not have.
        NotFoundError: A definition is not in this box.
    """
    resolved, used = with_columns(project, box.features.pinned(snapshot.lineage))
    return Prepared(resolved, used)


def with_columns(
    project: LoadedProject, definitions: Mapping[str, Definition]
) -> tuple[LoadedProject, dict[str, Definition]]:
    """The project with its features as columns, their rules in the contract, and the definitions that it uses.

    Raises:
        ProjectError: A feature is none of its view's, or rows have no time to look features up at.
    """
    declared = project.declaration
    names = [name for feature in declared.model.features for name in _expanded(project, feature, definitions)]
    columns = declared.features.columns_of(names)
    split = [parts for name in names if (parts := declared.features.split(name))]
    used = {view: definitions[view] for view in dict.fromkeys(view for view, _ in split)}
    if not used:
        return project, {}
    if declared.data.time is None:
        raise ProjectError(
            f"{PROJECT_FILE}: the model's features are looked up at each row's time, and [data] names none",
            hint='add time = "..." under [data]',
        )
    model = declared.model.model_dump() | {
        "features": columns, "categorical": declared.features.columns_of(declared.model.categorical),
    }  # fmt: skip
    rules: dict[str, ColumnRule] = {
        definitions[view].in_model(feature): definitions[view].column(feature).rule for view, feature in split
    }
    contract = declared.data.contract
    contract = contract.model_copy(update={"columns": contract.columns | rules})
    resolved = declared.model_copy(
        update={
            "model": Model.model_validate(model),
            "data": declared.data.model_copy(update={"contract": contract}),
        }
    )
    return LoadedProject(project.folder, resolved), used


def _expanded(project: LoadedProject, feature: str, definitions: Mapping[str, Definition]) -> list[str]:
    """``view.*`` as all features of the view."""
    parts = project.declaration.features.split(feature)
    if parts is None:
        return [feature]
    view, name = parts
    known = definitions[view].features if view in definitions else ()
    if name == "*" and known:
        return [f"{view}.{item}" for item in known]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        line = line_of_key(project.folder, "model", "features") or 1
        raise ProjectError(
            f"{PROJECT_FILE}, line {line}: view {view!r} has no feature {name!r}",
            hint=f"did you mean {view}.{near[0]}?"
            if near
            else f"it has: {', '.join(known) or 'none in this snapshot'}",
        )
    return [feature]
