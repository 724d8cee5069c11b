"""Registers a search's winner as ``energytune-<dataset>``, once, and lets it run for champion.

What is to be registered is written to the run folder first, so that ``energytune sync`` can do it
when MLflow was down at the end of the search.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energytune.config import Recipe
from energytune.errors import TrackingError
from energytune.tracking.champion import RegisteredModel
from energytune.tracking.client import ensure_experiment, global_uri, open_client, tracking_errors
from energytune.tracking.names import SEARCH_TAG, UID_TAG, experiment_name, slug
from energytune.tracking.reconcile import (
    CORRECT_FILE,
    MAX_TAG,
    pack_correct,
    reconcile,
    retrying,
    versions,
)
from energytune.tracking.store import artifact_root

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Winner", "register_pending", "register_winner"]

_PENDING = "registration.json"
MAX_TAG_RECORD = MAX_TAG
"""A longer record of correct examples is in the model's folder alone."""

_MODEL_TYPES = {
    "accuracy": "image-classifier",
    "roc_auc": "multi-label-classifier",
    "miou": "segmentation",
}


@dataclass(frozen=True)
class Winner:
    """Everything needed to register a model; JSON values.

    Attributes:
        dataset: Names the registered model.
        weights: Path of the safetensors weights, relative to the run folder if inside it.
        spec: For ``energytune.models.rebuild_model``.
        score: Test score in [0, 1].
        protocol: Two models with the same text may be compared.
        correct: Per test example, packed by :func:`~energytune.tracking.reconcile.pack_correct`.
        recipe: The recipe's dimensions.
        run_uid: Uid of the run that made the weights; a uid is registered once.
        search_id: The search.
        input_shape: Shape of one preprocessed sample; None takes the spec's.
        class_names: Names of the K classes, in order.
        tags: Further tags of the version.
        metric: What the score is, ``Task.metric``; it tells what the model predicts.
        preprocessing: ``Splits.preprocessing``.
    """

    dataset: str
    weights: str
    spec: dict[str, Any]
    score: float
    protocol: str
    correct: str
    recipe: dict[str, Any]
    run_uid: str
    search_id: str
    input_shape: list[int] | None = None
    class_names: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    metric: str = "accuracy"
    preprocessing: dict[str, Any] = field(default_factory=dict)


def register_winner(
    uri: str,
    dataset: str,
    *,
    run_folder: Path | str,
    weights: Path | str,
    spec: Mapping[str, Any],
    score: float,
    protocol: str,
    correct: Sequence[bool],
    recipe: Recipe,
    run_uid: str,
    search_id: str,
    input_shape: Sequence[int] | None = None,
    class_names: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    metric: str = "accuracy",
    preprocessing: Mapping[str, Any] | None = None,
) -> RegisteredModel:
    """Registers the winner of a search as ``energytune-<dataset>`` and reconciles the champion.

    Send the journal first (``Sender.stop``), so that the version can point to its run.

    Args:
        uri: Tracking server or database, which is the registry too.
        dataset: Name of the dataset.
        run_folder: Folder of the search; what is to be registered is noted there first.
        weights: safetensors state dict (``Finished.model_path`` of the confirmation).
        spec: ``TaskModel.spec()``.
        score: Test score of these weights, in [0, 1].
        protocol: ``Splits.protocol`` and the metric: only equal texts are compared.
        correct: Per test example, in the split's order, whether these weights were right; empty
            where the score is no share of right examples.
        recipe: The winner's recipe.
        run_uid: ``TrackingObserver.run_uid(job_id)`` of the confirmation.
        search_id: The search.
        input_shape: Shape of one preprocessed sample; None takes the spec's ``input_shape``.
        class_names: Names of the classes, in order.
        tags: Further tags of the version, for example the accuracy over all seeds.
        metric: What the score is, ``Task.metric``.
        preprocessing: ``Splits.preprocessing``: how a raw input becomes the network's.

    Returns:
        The version, and what was decided about it. Being no champion is a normal outcome.

    Raises:
        TrackingError: MLflow can't be reached; ``energytune sync`` registers later.
    """
    folder = Path(run_folder).absolute()
    path = Path(weights).absolute()
    winner = Winner(
        dataset=dataset,
        weights=str(path.relative_to(folder) if path.is_relative_to(folder) else path),
        spec=dict(spec),
        score=float(score),
        protocol=protocol,
        correct=pack_correct(correct),
        recipe=recipe.to_dict(),
        run_uid=run_uid,
        search_id=search_id,
        input_shape=None if input_shape is None else [int(n) for n in input_shape],
        class_names=list(class_names),
        tags=dict(tags or {}),
        metric=metric,
        preprocessing=dict(preprocessing or {}),
    )
    with tracking_errors(uri):  # a full disk too is a warning at the end of a search
        part = folder / f"{_PENDING}.part"
        part.write_text(json.dumps(asdict(winner), indent=1))
        os.replace(part, folder / _PENDING)
    return _register(uri, folder, winner)


def register_pending(uri: str, run_folder: Path | str) -> RegisteredModel | None:
    """Registers what a run folder has noted, unless it is there; None if nothing was noted.

    Raises:
        TrackingError: MLflow can't be reached, or the note is damaged.
    """
    folder = Path(run_folder).absolute()
    note = folder / _PENDING
    if not note.exists():
        return None
    try:
        winner = Winner(**json.loads(note.read_text()))
    except (ValueError, TypeError) as failure:
        raise TrackingError(f"{note} is damaged ({failure}): the model can't be registered.") from (
            failure
        )
    return _register(uri, folder, winner)


def _register(uri: str, folder: Path, winner: Winner) -> RegisteredModel:
    client = open_client(uri)
    name = experiment_name(winner.dataset)
    with tracking_errors(uri):
        _ensure_model(client, name)
        version = _find(client, name, winner.run_uid)
        if version is None:
            root = artifact_root(uri, folder)
            version = _create(client, name, folder, winner, root)
        champion, step = reconcile(client, name, version)
        is_champion = champion == version
        text = step.text
        if is_champion != step.wins:  # somebody else's version has come in between
            text += f" The champion is v{champion} now."
        for key, value in {"decision": text, "numbers": json.dumps(step.to_dict())}.items():
            retrying(
                lambda key=key, value=value: client.set_model_version_tag(  # type: ignore[misc]
                    name, str(version), f"energytune.{key}", value[:MAX_TAG]
                )
            )
    return RegisteredModel(name, version, is_champion, champion, text, step)


def _ensure_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    def create() -> None:
        try:
            client.create_registered_model(
                name, description="Finetuned by energytune; the alias `champion` moves by a test."
            )
        except MlflowException as failure:
            if failure.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    retrying(create)


def _find(client: MlflowClient, name: str, run_uid: str) -> int | None:
    found = [v for v in versions(client, name) if v.tags.get(UID_TAG) == run_uid]
    return min((int(v.version) for v in found), default=None)


def _create(
    client: MlflowClient, name: str, folder: Path, winner: Winner, root: Path | None
) -> int:
    from energytune.tracking.package import build_model_folder

    experiment = ensure_experiment(client, name, root)
    runs = client.search_runs([experiment], f"tags.`{UID_TAG}` = '{winner.run_uid}'", max_results=1)
    run_id = runs[0].info.run_id if runs else None
    tags = _version_tags(winner)
    model = client.create_logged_model(
        experiment,
        f"{slug(winner.dataset)}-{winner.recipe['head_arch']}-tau{winner.recipe['tau']}",
        source_run_id=run_id,
        params={key: str(value) for key, value in winner.recipe.items()},
        model_type=_MODEL_TYPES[winner.metric],
    )
    with tempfile.TemporaryDirectory() as scratch:
        built = Path(scratch) / "model"
        build_model_folder(
            built,
            weights=folder / winner.weights,
            spec=winner.spec,
            input_shape=winner.input_shape or winner.spec.get("input_shape") or (64,),
            description={
                "class_names": winner.class_names,
                "dataset": winner.dataset,
                "metric": winner.metric,
                "preprocessing": winner.preprocessing,
                "protocol": winner.protocol,
                "recipe": winner.recipe,
                "score": winner.score,
            },
            model_id=model.model_id,
            run_id=run_id,
        )
        (built / CORRECT_FILE).write_text(winner.correct)
        client.log_model_artifacts(model.model_id, str(built))
    client.finalize_logged_model(model.model_id, "READY")

    def create() -> int:
        # after a failure the version may be there all the same
        there = _find(client, name, winner.run_uid)
        if there is not None:
            return there
        # score and protocol come in the same call: no version is ever seen without them
        with global_uri(client.tracking_uri):
            source = f"models:/{model.model_id}"
            made = client.create_model_version(name, source, run_id, tags, model_id=model.model_id)
        return int(made.version)

    return retrying(create)


def _version_tags(winner: Winner) -> dict[str, str]:
    tags = {key: str(value)[:MAX_TAG] for key, value in winner.tags.items()}
    tags |= {key: str(value) for key, value in winner.recipe.items()}
    tags |= {
        UID_TAG: winner.run_uid,
        SEARCH_TAG: winner.search_id,
        "energytune.score": repr(winner.score),
        "energytune.protocol": winner.protocol,
    }
    if len(winner.correct) <= MAX_TAG_RECORD:
        tags["energytune.correct"] = winner.correct
    return tags
