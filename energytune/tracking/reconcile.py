"""Keeps the alias ``champion`` where the evidence says, when several searches end at once.

MLflow's registry has no compare-and-set. Reading, comparing and setting the alias left a wrong
champion in more than half of the rounds of a race. So the champion is a function of the
registered versions (:func:`energytune.tracking.champion.fold_champion`), and every search
reconciles: list, fold, set the alias if it differs, and look again, until a read after the last
write agrees. Whoever looks last has seen every version.
"""

from __future__ import annotations

import base64
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from energytune.errors import TrackingError
from energytune.tracking.champion import ALPHA, Candidate, Comparison, compare, fold_champion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["ALIAS", "CORRECT_FILE", "pack_correct", "reconcile", "retrying", "unpack_correct"]

ALIAS = "champion"
CORRECT_FILE = "correct.txt"
"""File in the model's folder with the packed per-example correctness."""
MAX_TAG = 5000
"""Longest tag value of a version that all servers take; more is in the file alone."""
_N_TRIES = 12

_T = TypeVar("_T")


def pack_correct(correct: Sequence[bool]) -> str:
    """Returns per-example correctness as text: length, colon, base64 of the deflated bits."""
    bits = np.packbits(np.asarray(correct, dtype=bool)).tobytes()
    return f"{len(correct)}:{base64.b64encode(zlib.compress(bits, 9)).decode()}"


def unpack_correct(text: str) -> tuple[bool, ...]:
    """Reverses :func:`pack_correct`.

    Raises:
        ValueError: The text is damaged.
    """
    length, _, packed = text.partition(":")
    try:
        bits = np.frombuffer(zlib.decompress(base64.b64decode(packed)), dtype=np.uint8)
        if len(bits) != -(-int(length) // 8):
            raise ValueError(f"{len(bits)} bytes for {length} examples")
        flags = np.unpackbits(bits, count=int(length))
    except (ValueError, zlib.error) as failure:
        raise ValueError(f"a damaged record of correct test examples: {failure}") from failure
    return tuple(bool(flag) for flag in flags)


def reconcile(
    client: MlflowClient, name: str, version: int, alpha: float = ALPHA
) -> tuple[int | None, Comparison]:
    """Sets the alias ``champion`` to the fold of all ready versions; ends when a read agrees.

    The protocol that counts is that of the version to which the alias points now; without one it
    is that of ``version``. So a version under a new protocol never displaces a champion by
    itself, nor does any displace a champion that somebody registered by other means: delete the
    alias to start a new line.

    Args:
        client: An open client.
        name: Registered model.
        version: The version that has just been registered.
        alpha: Level of the test.

    Returns:
        The champion's version, and the comparison of ``version`` with the champion of its time.

    Raises:
        TrackingError: The registry does not come to rest.
    """
    for attempt in range(_N_TRIES):
        current = retrying(lambda: champion_version(client, name))
        found = {c.version: c for c in retrying(lambda: _candidates(client, name))}
        holder = found.get(current) if current is not None else None
        mine = found[version]
        if holder is not None and not holder.protocol:
            return current, compare(mine, holder, alpha)
        wanted, steps = fold_champion(found.values(), (holder or mine).protocol, alpha)
        if wanted is None or wanted == current:
            return current, steps.get(version) or compare(mine, holder, alpha)
        target = str(wanted)
        retrying(lambda target=target: client.set_registered_model_alias(name, ALIAS, target))  # type: ignore[misc]
        time.sleep(0.01 * attempt)
    raise TrackingError(
        f"The alias {ALIAS!r} of {name} keeps changing: somebody else is setting it too. When "
        "they are done, run `energytune sync` on the search's folder."
    )


def champion_version(client: MlflowClient, name: str) -> int | None:
    """Returns the version to which the alias points; None without one."""
    from mlflow.exceptions import MlflowException

    try:
        return int(client.get_model_version_by_alias(name, ALIAS).version)
    except MlflowException as failure:
        if failure.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def retrying(call: Callable[[], _T], n_tries: int = 8) -> _T:
    """Calls again after a failure: concurrent writers make databases refuse now and then."""
    for attempt in range(n_tries - 1):
        try:
            return call()
        except Exception:  # locked database, lost connection, version number taken, ...
            time.sleep(0.02 * 2**attempt)
    return call()


def versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Returns all ready versions of a registered model."""
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", 200, None, token)
        found += [v for v in page if v.status == "READY"]
        token = page.token
        if not token:
            return found


def _candidates(client: MlflowClient, name: str) -> list[Candidate]:
    read = [_read_candidate(v) for v in versions(client, name)]
    # a record too long for a tag is fetched only where it can decide something
    return [
        replace(c, correct=_fetch_correct(client, name, c.version))
        if c.correct is None and c.protocol
        else c
        for c in read
    ]


def _read_candidate(version: ModelVersion) -> Candidate:
    tags = version.tags
    try:
        score = float(tags["energytune.score"])
        protocol = str(tags["energytune.protocol"])
    except (KeyError, ValueError):  # registered by other means
        return Candidate(int(version.version), float("nan"), "", None)
    packed = tags.get("energytune.correct")
    try:
        correct = unpack_correct(packed) if packed else None
    except ValueError:
        correct = None
    return Candidate(int(version.version), score, protocol, correct)


def _fetch_correct(client: MlflowClient, name: str, version: int) -> tuple[bool, ...] | None:
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory() as scratch:
        try:
            uri = client.get_model_version_download_uri(name, str(version))
            source = f"{uri.rstrip('/')}/{CORRECT_FILE}"
            return unpack_correct(Path(download_artifacts(source, dst_path=scratch)).read_text())
        except Exception:  # gone or damaged: then this version can't be compared, and says so
            return None
