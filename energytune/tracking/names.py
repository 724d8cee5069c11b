"""What things are called in MLflow: experiments, tags, and the params of a trial."""

from __future__ import annotations

import math
import re
from typing import Any

from energytune.trial import Job

__all__ = [
    "BEST_METRIC",
    "LOG_TAU",
    "SEARCH_TAG",
    "UID_TAG",
    "experiment_name",
    "slug",
    "trial_params",
]

UID_TAG = "energytune.uid"
"""The tag by which a replay finds a run."""
SEARCH_TAG = "energytune.search"
"""The tag that all runs of a search share."""
LOG_TAU = "hp_log10_tau"
"""The param log10(tau + 1). MLflow's compare page has linear axes only, and at first it draws the
three params that come first in the alphabet among those that differ: after ``ft_lr`` and
``head_arch`` this is the third."""
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")
BEST_METRIC = "search/best_objective"
"""The parent's curve: best objective so far, over the number of ended trials."""


def slug(dataset: str) -> str:
    """Returns a dataset's name with nothing that MLflow refuses in the name of a model."""
    return _UNFIT.sub("-", dataset).strip("-")


def experiment_name(dataset: str) -> str:
    """Returns the name of the experiment, and of the registered model, of a dataset."""
    return f"energytune-{slug(dataset)}"


def trial_params(job: Job, dataset: str, backbone: str) -> dict[str, str]:
    """Returns a trial's params: the same set on every trial, bare names, and :data:`LOG_TAU`."""
    values: dict[str, Any] = {
        "tau": job.recipe.tau,
        LOG_TAU: round(math.log10(job.recipe.tau + 1), 6),
        **{name: value for name, value in job.recipe.to_dict().items() if name != "tau"},
        "dataset": dataset,
        "backbone": backbone,
        "seed": job.seed,
        "role": job.role,
    }
    return {name: str(value) for name, value in values.items()}
