"""Registers a search's winner as ``energytune-<dataset>``, once, and lets it run for champion.

What is to be registered is written to the run folder first, so that ``energytune sync`` can do it
when MLflow was down at the end of the search.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energytune.config import Recipe
from energytune.errors import DataError, TrackingError
from energytune.tasks.evidence import Evidence, evidence_of_correct
from energytune.tracking.champion import RegisteredModel
from energytune.tracking.client import ensure_experiment, global_uri, open_client, tracking_errors
from energytune.tracking.comparison import Comparison
from energytune.tracking.names import SEARCH_TAG, UID_TAG, experiment_name, slug
from energytune.tracking.reconcile import reconcile
from energytune.tracking.store import artifact_root
from energytune.tracking.versions import (
    EVIDENCE_FILE,
    MAX_TAG,
    pack_correct,
    retrying,
    unpack_correct,
    versions,
)
from energytune.tracking.winner import Winner, path_from, read_note, write_note
from energytune.trial.evidence_file import read_evidence, write_evidence

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

__all__ = ["Winner", "note_winner", "register_pending", "register_winner"]

DECISION_FILE = "decision.json"
"""File in the model's folder with what was decided about it, and the numbers."""
MAX_TAG_RECORD = MAX_TAG
"""A longer record of correct examples is in the model's folder alone."""

_MODEL_TYPES = {
    "accuracy": "image-classifier",
    "roc_auc": "multi-label-classifier",
    "miou": "segmentation",
}


def note_winner(
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
    evidence: Path | str | None = None,
) -> Winner:
    """Notes in a search's folder what is to be registered as ``energytune-<dataset>``.

    :func:`register_pending` registers it.

    Args:
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
        evidence: ``TestResult.evidence_path``; None for an accuracy, whose evidence is
            ``correct``. Without either the version can't be compared.

    Returns:
        What was noted.

    Raises:
        TrackingError: The folder can't be written.
    """
    folder = Path(run_folder).absolute()
    winner = Winner(
        dataset=dataset,
        weights=path_from(folder, weights),
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
        evidence="" if evidence is None else path_from(folder, evidence),
    )
    try:
        write_note(folder, winner)
    except OSError as failure:  # a full disk too is a warning at the end of a search
        raise TrackingError(f"{folder} can't be written ({failure})") from failure
    return winner


def register_winner(
    uri: str, dataset: str, *, run_folder: Path | str, **noted: Any
) -> RegisteredModel:
    """Registers the winner of a search as ``energytune-<dataset>`` and reconciles the champion.

    Send the journal first (``Sender.drain``), so that the version can point to its run.

    Args:
        uri: Tracking server or database, which is the registry too.
        dataset: Name of the dataset.
        run_folder: Folder of the search; what is to be registered is noted there first.
        noted: See :func:`note_winner`.

    Returns:
        The version, and what was decided about it. Being no champion is a normal outcome.

    Raises:
        TrackingError: MLflow can't be reached; ``energytune sync`` registers later.
    """
    winner = note_winner(dataset, run_folder=run_folder, **noted)
    return _register(uri, Path(run_folder).absolute(), winner)


def register_pending(uri: str, run_folder: Path | str) -> RegisteredModel | None:
    """Registers what a run folder has noted, unless it is there; None if nothing was noted.

    Raises:
        TrackingError: MLflow can't be reached, or the note is damaged.
    """
    folder = Path(run_folder).absolute()
    winner = read_note(folder)
    if winner is None:
        return None
    _check_inside(folder, winner)
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
        champion, line = reconcile(client, name)
        step = line.steps.get(version)
        if step is None:
            raise TrackingError(
                f"Version {version} of {name} was deleted while it was registered. To register it "
                f"again run `energytune sync {folder}`."
            )
        is_champion = champion == version
        text = step.text
        if is_champion != step.wins:  # somebody else's version has come in between
            text += f" The champion is v{champion} now."
        _write_decision(client, name, version, step)
    return RegisteredModel(name, version, is_champion, champion, text, step)


def _write_decision(client: MlflowClient, name: str, version: int, step: Comparison) -> None:
    """Writes the decision as tags of the version, and as ``decision.json`` beside the model."""
    for key, value in {"decision": step.text, "numbers": json.dumps(step.to_dict())}.items():
        retrying(
            lambda key=key, value=value: client.set_model_version_tag(  # type: ignore[misc]
                name, str(version), f"energytune.{key}", value[:MAX_TAG]
            )
        )
    # the registry's list shows the description, and cuts tags off
    retrying(lambda: client.update_model_version(name, str(version), step.text))
    source = retrying(lambda: client.get_model_version(name, str(version)).source) or ""
    with tempfile.TemporaryDirectory() as scratch:
        told = json.dumps({"outcome": step.outcome, **step.to_dict()}, indent=1)
        (Path(scratch) / DECISION_FILE).write_text(told, encoding="utf-8")
        model_id = source.removeprefix("models:/")
        retrying(lambda: client.log_model_artifacts(model_id, scratch))


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


def _logged_model(
    client: MlflowClient, experiment: str, winner: Winner, run_id: str | None
) -> LoggedModel:
    """Returns the model that a registration has left that was cut short, or makes one."""
    of_winner = f"tags.`{UID_TAG}` = '{winner.run_uid}'"
    for model in client.search_logged_models([experiment], filter_string=of_winner):
        return model
    return client.create_logged_model(
        experiment,
        f"{slug(winner.dataset)}-{winner.recipe['head_arch']}-tau{winner.recipe['tau']}",
        source_run_id=run_id,
        tags={UID_TAG: winner.run_uid},
        params={key: str(value) for key, value in winner.recipe.items()},
        model_type=_MODEL_TYPES[winner.metric],
    )


def _create(
    client: MlflowClient, name: str, folder: Path, winner: Winner, root: Path | None
) -> int:
    from energytune.tracking.package import build_model_folder

    experiment = ensure_experiment(client, name, root)
    evidence = _evidence(folder, winner)
    runs = client.search_runs([experiment], f"tags.`{UID_TAG}` = '{winner.run_uid}'", max_results=1)
    run_id = runs[0].info.run_id if runs else None
    tags = _version_tags(winner, evidence)
    model = _logged_model(client, experiment, winner, run_id)
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
        if evidence is not None:
            # as readable as the files beside it: other users compare their models with it
            write_evidence(built / EVIDENCE_FILE, evidence).chmod(0o644)
        # two that register one search at once trip over each other's folders, and write the same
        retrying(lambda: client.log_model_artifacts(model.model_id, str(built)))
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

    version = retrying(create)
    first = retrying(lambda: _find(client, name, winner.run_uid)) or version
    if first < version:  # the same search was registered by two processes at once
        retrying(lambda: _delete(client, name, version))
    return first


def _check_inside(folder: Path, winner: Winner) -> None:
    """Raises TrackingError where a note, which may come from elsewhere, names a file elsewhere."""
    home = folder.resolve()
    for name in filter(None, (winner.weights, winner.evidence)):
        if not (folder / name).resolve().is_relative_to(home):
            raise TrackingError(
                f"The note of the winner names {name!r}, which is not in {folder}: it is not sent. "
                "Copy the file into the folder and correct registration.json."
            )


def _delete(client: MlflowClient, name: str, version: int) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.delete_model_version(name, str(version))
    except MlflowException as failure:
        if failure.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _evidence(folder: Path, winner: Winner) -> Evidence | None:
    if winner.evidence:
        try:
            return read_evidence(folder / winner.evidence)
        except DataError:  # gone: the model is worth registering all the same
            return None
    correct = unpack_correct(winner.correct)
    return evidence_of_correct(correct) if correct else None


def _version_tags(winner: Winner, evidence: Evidence | None) -> dict[str, str]:
    tags = {key: str(value)[:MAX_TAG] for key, value in winner.tags.items()}
    tags |= {key: str(value) for key, value in winner.recipe.items()}
    tags |= {
        UID_TAG: winner.run_uid,
        SEARCH_TAG: winner.search_id,
        "energytune.score": repr(winner.score),
        "energytune.protocol": winner.protocol,
    }
    if evidence is not None:
        tags["energytune.evidence"] = evidence.digest()
        if evidence.metric == "accuracy" and len(winner.correct) <= MAX_TAG_RECORD:
            tags["energytune.correct"] = winner.correct
    return tags
