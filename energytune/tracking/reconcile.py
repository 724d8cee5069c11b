"""Keeps the alias ``champion`` where the evidence says, when several searches end at once.

MLflow's registry has no compare-and-set. Reading, comparing and setting the alias left a wrong
champion in more than half of the rounds of a race. So the champion is a function of the
registered versions and of people's promotions
(:func:`energytune.tracking.champion.fold_champion`), and every search reconciles: list, fold, set
the alias if it differs, and look again, until a read after the last write agrees. Whoever looks
last has seen every version.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from energytune.errors import TrackingError
from energytune.tracking.champion import Line, fold_champion
from energytune.tracking.comparison import ALPHA
from energytune.tracking.promotions import read_promotions
from energytune.tracking.versions import Pairs, candidate_of, retrying, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["ALIAS", "champion_version", "reconcile"]

ALIAS = "champion"
_N_TRIES = 12


def reconcile(client: MlflowClient, name: str, alpha: float = ALPHA) -> tuple[int | None, Line]:
    """Sets the alias ``champion`` to the fold of all ready versions; ends when a read agrees.

    An alias that somebody has put on a version that energytune did not register is left alone;
    one that was moved between energytune's own versions without ``energytune champion promote``
    is moved back.

    Args:
        client: An open client.
        name: Registered model.
        alpha: Level of a line of challengers.

    Returns:
        The version to which the alias points now, and the champions so far.

    Raises:
        TrackingError: The registry does not come to rest.
    """
    pairs = Pairs(client, name)
    for attempt in range(_N_TRIES):
        current = retrying(lambda: champion_version(client, name))
        found = retrying(lambda: versions(client, name))
        promotions = retrying(lambda: read_promotions(client, name))
        pairs.learn(found)
        candidates = {c.version: c for c in map(candidate_of, found)}
        line = fold_champion(candidates.values(), promotions, alpha, pairs)
        is_foreign = current in candidates and not candidates[current].protocol
        if is_foreign or line.champion in (None, current):
            return current, line
        target = str(line.champion)
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
