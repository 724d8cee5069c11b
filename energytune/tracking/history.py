"""What ``energytune champion`` tells and does: a dataset's versions, and people's decisions."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from energytune.data import absolute_name
from energytune.errors import EnergyTuneError, TrackingError, UnknownNameError, unknown_name
from energytune.redact import redact
from energytune.tracking.champion import Promotion
from energytune.tracking.client import open_client, tracking_errors
from energytune.tracking.comparison import Comparison
from energytune.tracking.names import SEARCH_TAG, experiment_name
from energytune.tracking.promotions import read_promotions, write_promotion
from energytune.tracking.reconcile import ALIAS, champion_version, reconcile
from energytune.tracking.versions import candidate_of, comparison_of, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["ChampionHistory", "VersionRow", "champion_history", "promote_version", "rollback"]

_PREFIX = "energytune-"
_HIDDEN = ("energytune.correct", "energytune.numbers", "energytune.decision")
"""Tags that are told by other fields, or tell a person nothing."""


@dataclass(frozen=True)
class VersionRow:
    """One version of a registered model.

    Attributes:
        version: Its number.
        score: Test score in [0, 1]; None if energytune did not register it.
        protocol: What it was measured under; empty if energytune did not register it.
        search_id: The search that registered it.
        created_ms: When, milliseconds since the epoch.
        decision: What was decided, as a sentence; empty if the search died on its way there.
        comparison: The numbers of the decision; None as ``decision``.
        tags: Further tags: recipe, backbone, versions and commits of the code.
    """

    version: int
    score: float | None
    protocol: str
    search_id: str
    created_ms: int
    decision: str
    comparison: Comparison | None
    tags: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Returns the row as JSON values."""
        outcome = None if self.comparison is None else self.comparison.outcome
        return {**asdict(self), "outcome": outcome}


@dataclass(frozen=True)
class ChampionHistory:
    """All versions of a dataset's model.

    Attributes:
        name: Name of the registered model.
        uri: Where it is, without a password.
        champion: The version to which the alias ``champion`` points; None without one.
        rows: The versions by number.
        promotions: What people have decided, in order.
    """

    name: str
    uri: str
    champion: int | None
    rows: tuple[VersionRow, ...]
    promotions: tuple[Promotion, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Returns the history as JSON values."""
        return {
            "name": self.name,
            "champion": self.champion,
            "versions": [row.to_dict() for row in self.rows],
            "promotions": [asdict(promotion) for promotion in self.promotions],
        }


def champion_history(uri: str, dataset: str) -> ChampionHistory:
    """Returns the versions of a dataset's model, and who is champion. Changes nothing.

    Args:
        uri: Tracking server or database.
        dataset: Name of the dataset.

    Raises:
        TrackingError: MLflow can't be reached.
        UnknownNameError: No model of that dataset is registered there.
    """
    client, name = _open(uri, dataset)
    return _history(client, uri, name)


def promote_version(uri: str, dataset: str, version: int, reason: str = "") -> ChampionHistory:
    """Makes a version champion by a person's decision, which later searches respect.

    From then on only later versions challenge it, and their count begins anew.

    Args:
        uri: Tracking server or database.
        dataset: Name of the dataset.
        version: The version; any that is ready, also under a new protocol.
        reason: Why, for the history.

    Raises:
        TrackingError: MLflow can't be reached, or the alias is being moved by others.
        UnknownNameError: There is no such model or version.
    """
    client, name = _open(uri, dataset)
    with tracking_errors(uri):
        numbers = [int(v.version) for v in versions(client, name)]
        if version not in numbers:
            raise unknown_name(
                f"version of {name}",
                str(version),
                [str(n) for n in numbers],
                "See `energytune champion history`.",
            )
        _decide(client, name, "promote", version, max(numbers), reason)
    return _history(client, uri, name)


def rollback(uri: str, dataset: str, reason: str = "") -> ChampionHistory:
    """Makes the champion before the present one champion again, by a person's decision.

    A second rollback goes one further back. Later searches respect it, as a promotion.

    Args:
        uri: Tracking server or database.
        dataset: Name of the dataset.
        reason: Why, for the history.

    Raises:
        TrackingError: MLflow can't be reached, there was no champion before, or the alias is
            being moved by others.
        UnknownNameError: There is no such model.
    """
    client, name = _open(uri, dataset)
    with tracking_errors(uri):
        current, line = reconcile(client, name)
        earlier = [v for v in line.reigns if v != current]
        if not earlier:
            raise TrackingError(
                f"{name} has had no champion before v{current}, so there is none to go back to. "
                "Choose a version with `energytune champion promote`."
            )
        latest = max(int(v.version) for v in versions(client, name))
        _decide(client, name, "rollback", earlier[-1], latest, reason)
    return _history(client, uri, name)


def _decide(
    client: MlflowClient,
    name: str,
    kind: Literal["promote", "rollback"],
    version: int,
    latest: int,
    reason: str,
) -> None:
    before = champion_version(client, name)
    write_promotion(client, name, kind, version, before=before, latest=latest, reason=reason)
    # An alias on a version of somebody else's is left alone by searches, and not by a person.
    client.set_registered_model_alias(name, ALIAS, str(version))
    reconcile(client, name)


def _open(uri: str, dataset: str) -> tuple[MlflowClient, str]:
    client = open_client(uri)
    with tracking_errors(uri):
        known = [m.name for m in client.search_registered_models(max_results=1000)]
    names = [dataset, experiment_name(dataset)]
    with suppress(EnergyTuneError):  # a folder that is gone
        names.append(experiment_name(absolute_name(dataset)))
    name = next((n for n in names if n in known and n.startswith(_PREFIX)), None)
    if name is None:
        ours = [n.removeprefix(_PREFIX) for n in known if n.startswith(_PREFIX)]
        if not ours:
            raise UnknownNameError(
                f"No model is registered in {redact(uri)}. A search registers its winner when it "
                f"ends: `energytune search --dataset {dataset}`; or name another store with "
                "--tracking-uri."
            )
        raise unknown_name(
            "dataset with a registered model",
            dataset,
            ours,
            f"In {redact(uri)}; a finished search registers its winner there.",
        )
    return client, name


def _history(client: MlflowClient, uri: str, name: str) -> ChampionHistory:
    with tracking_errors(uri):
        return ChampionHistory(
            name=name,
            uri=redact(uri),
            champion=champion_version(client, name),
            rows=tuple(_row(v) for v in versions(client, name)),
            promotions=tuple(read_promotions(client, name)),
        )


def _row(version: ModelVersion) -> VersionRow:
    candidate, tags = candidate_of(version), version.tags
    return VersionRow(
        version=candidate.version,
        score=candidate.score if candidate.protocol else None,
        protocol=candidate.protocol,
        search_id=tags.get(SEARCH_TAG, ""),
        created_ms=int(version.creation_timestamp or 0),
        decision=tags.get("energytune.decision", ""),
        comparison=comparison_of(version),
        tags={key: value for key, value in tags.items() if key not in _HIDDEN},
    )
