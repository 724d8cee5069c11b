"""What people have decided on the champion, kept as tags of the registered model.

Each decision has a tag of its own, so that two people at once lose none; they are ordered by
their time, and a decision's time is always after that of the last one.
"""

from __future__ import annotations

import getpass
import json
import time
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

from energytune.json_text import parse_json
from energytune.tracking.champion import Promotion

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["read_promotions", "write_promotion"]

_PREFIX = "energytune.promotion."
_MAX_REASON = 1000


def read_promotions(client: MlflowClient, name: str) -> list[Promotion]:
    """Returns all decisions on a registered model, in order; what can't be read is passed over."""
    tags = client.get_registered_model(name).tags
    found = []
    for key in sorted(key for key in tags if key.startswith(_PREFIX)):
        try:
            found.append(Promotion(**parse_json(tags[key])))
        except (ValueError, TypeError):  # not written by energytune
            continue
    return found


def write_promotion(
    client: MlflowClient,
    name: str,
    kind: Literal["promote", "rollback"],
    version: int,
    *,
    before: int | None,
    latest: int,
    reason: str,
) -> Promotion:
    """Adds a decision.

    Args:
        client: An open client.
        name: Registered model.
        kind: What was decided.
        version: The champion from now on.
        before: The champion until now.
        latest: Highest version that exists.
        reason: Why; cut after 1000 characters.
    """
    last_ms = max((p.at_ms for p in read_promotions(client, name)), default=0)
    promotion = Promotion(
        kind=kind,
        version=version,
        before=before,
        latest=latest,
        by=_user(),
        at_ms=max(round(1000 * time.time()), last_ms + 1),
        reason=reason[:_MAX_REASON],
    )
    key = f"{_PREFIX}{promotion.at_ms:015d}-{uuid.uuid4().hex[:6]}"
    client.set_registered_model_tag(name, key, json.dumps(asdict(promotion)))
    return promotion


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container without that user
        return "unknown"
