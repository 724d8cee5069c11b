"""Registered versions as the decision needs them: their tags, and their evidence where it is read.

A test that was made once is not made again: the numbers that were decided on are a tag of the
version, and serve whoever compares the same two evidences at the same level.
"""

from __future__ import annotations

import base64
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from energytune.errors import DataError
from energytune.json_text import parse_json
from energytune.tasks.evidence import Evidence, evidence_of_correct
from energytune.tracking.comparison import Candidate, Comparison, pair_candidates
from energytune.tracking.names import UID_TAG
from energytune.tracking.paired import Paired
from energytune.trial.evidence_file import read_evidence

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = [
    "EVIDENCE_FILE",
    "MAX_TAG",
    "Pairs",
    "candidate_of",
    "comparison_of",
    "pack_correct",
    "retrying",
    "unpack_correct",
    "versions",
]

EVIDENCE_FILE = "evidence.safetensors"
"""File in the model's folder with the evidence."""
MAX_TAG = 5000
"""Longest tag value of a version that all servers take; more is in the file alone."""
_MAX_BITS = 10**9
_OLD_FILE = "correct.txt"

_T = TypeVar("_T")


def retrying(call: Callable[[], _T], n_tries: int = 8) -> _T:
    """Calls again after a failure: concurrent writers make databases refuse now and then."""
    for attempt in range(n_tries - 1):
        try:
            return call()
        except Exception:  # locked database, lost connection, version number taken, ...
            time.sleep(0.02 * 2**attempt)
    return call()


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
        n_bytes = -(-int(length) // 8)
        if not 0 <= n_bytes <= _MAX_BITS // 8:
            raise ValueError(f"{length} examples")
        # no more than it says: a few letters can unfold to gigabytes
        unfolded = zlib.decompressobj().decompress(base64.b64decode(packed), n_bytes + 1)
        bits = np.frombuffer(unfolded, dtype=np.uint8)
        if len(bits) != n_bytes:
            raise ValueError(f"another number of bytes than {n_bytes} for {length} examples")
        flags = np.unpackbits(bits, count=int(length))
    except (ValueError, zlib.error) as failure:
        raise ValueError(f"a damaged record of correct test examples: {failure}") from failure
    return tuple(bool(flag) for flag in flags)


def versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Returns all ready versions of a registered model, by number."""
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", 200, None, token)
        found += [v for v in page if v.status == "READY"]
        token = page.token
        if not token:
            return sorted(found, key=lambda v: int(v.version))


def candidate_of(version: ModelVersion) -> Candidate:
    """Returns a version by its tags, without its evidence."""
    tags, number = version.tags, int(version.version)
    try:
        score, protocol = float(tags["energytune.score"]), str(tags["energytune.protocol"])
    except (KeyError, ValueError):  # registered by other means
        return Candidate(number, float("nan"), "")
    return Candidate(
        number,
        score,
        protocol,
        digest=tags.get("energytune.evidence", ""),
        uid=tags.get(UID_TAG, ""),
    )


def comparison_of(version: ModelVersion) -> Comparison | None:
    """Returns what was decided about a version when it was registered; None if that can't be read.

    A search that died on its way has left none, and one of another release another form.
    """
    try:
        return Comparison.from_dict(parse_json(version.tags["energytune.numbers"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


class Pairs:
    """Tests versions of a registered model, fetching evidence where no test was made yet.

    Args:
        client: An open client.
        name: Registered model.
    """

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client, self._name = client, name
        self._known: dict[tuple[str, str, float], Paired] = {}
        self._tags: dict[int, dict[str, str]] = {}
        self._evidence: dict[int, Evidence | None] = {}

    def learn(self, found: Iterable[ModelVersion]) -> None:
        """Takes note of the tags of versions."""
        for version in found:
            self._tags[int(version.version)] = version.tags
            step = comparison_of(version)
            if step is not None and step.test is not None and step.level is not None:
                self._remember(step.evidence, step.champion_evidence, step.level, step.test)

    def __call__(self, new: Candidate, old: Candidate, level: float) -> Paired | str:
        """Tests two versions at a level, or says why they can't be compared.

        Raises:
            MlflowException, OSError: Evidence that is there can't be read now.
        """
        key = (new.digest, old.digest, level)
        if key in self._known:
            return self._known[key]
        found = pair_candidates(self._with_evidence(new), self._with_evidence(old), level)
        if isinstance(found, Paired):
            self._remember(*key, found)
        return found

    def _remember(self, new: str, old: str, level: float, test: Paired) -> None:
        if new and old:  # else they may be any two
            self._known[new, old, level] = test

    def _with_evidence(self, candidate: Candidate) -> Candidate:
        number = candidate.version
        if number not in self._evidence:
            self._evidence[number] = self._read(number)
        return Candidate(
            number, candidate.score, candidate.protocol, evidence=self._evidence[number]
        )

    def _read(self, version: int) -> Evidence | None:
        packed = self._tags.get(version, {}).get("energytune.correct", "")
        if packed:
            try:
                return _of_packed(packed)
            except ValueError:
                return None
        return retrying(lambda: _fetch(self._client, self._name, version))


def _of_packed(packed: str) -> Evidence | None:
    correct = unpack_correct(packed)
    return evidence_of_correct(correct) if correct else None


def _fetch(client: MlflowClient, name: str, version: int) -> Evidence | None:
    """Returns the evidence in a version's folder; None if none is there, or it is damaged.

    A store that does not answer is no missing evidence: it would make another champion.
    """
    from mlflow.artifacts import download_artifacts, list_artifacts

    folder = client.get_model_version_download_uri(name, str(version)).rstrip("/")
    there = {Path(f.path).name for f in list_artifacts(folder, tracking_uri=client.tracking_uri)}
    for file in (EVIDENCE_FILE, _OLD_FILE):
        if file not in there:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            local = Path(
                download_artifacts(
                    f"{folder}/{file}", dst_path=scratch, tracking_uri=client.tracking_uri
                )
            )
            try:
                if file == EVIDENCE_FILE:
                    return read_evidence(local)
                return _of_packed(local.read_text())
            except (DataError, ValueError):
                return None
    return None
