"""The command that runs a search again, from its settings."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from energytune.config import (
    Recipe,
    SearchConfig,
    SearchSpace,
    apply_fixes,
    list_spaces,
    load_space,
)
from energytune.data import get_dataset
from energytune.errors import EnergyTuneError
from energytune.report.inputs import Reproduction

__all__ = ["SPACE_FILE", "reproduction"]

SPACE_FILE = "space.yaml"
"""Where the search space lies in the search's folder if no packaged one is the same."""

_OPTIONS = {
    "backbone": "--backbone",
    "checkpoint": "--checkpoint",
    "checkpoint_prefix": "--checkpoint-prefix",
    "image_size": "--image-size",
    "data_root": "--data-root",
}
_SEARCH_OPTIONS = {
    "n_trials": "--trials",
    "ft_epochs_budget": "--ft-epochs",
    "gpu_hours": "--gpu-hours",
    "sampler": "--sampler",
    "pruner": "--pruner",
    "n_confirm_recipes": "--confirm-recipes",
    "concurrency": "--concurrency",
    "cpus_per_trial": "--cpus-per-trial",
    "gpus_per_trial": "--gpus-per-trial",
}
_ELSEWHERE = {
    "storage": "--storage",
    "tracking_uri": "--tracking-uri",
    "ray_address": "--ray-address",
    "storage_path": "--storage-path",
    "cache_budget": "--cache-budget",
    "max_disk": "--max-disk",
}
"""What only says where a search runs and is kept; such addresses may hold passwords."""

_Words = list[str]


def reproduction(
    config: SearchConfig,
    winner: Recipe | None = None,
    *,
    user_data: bool = False,
    user_module: bool = False,
) -> Reproduction:
    """Returns the command that does a search again, or why none can.

    Options at their default are left out, and so is where the search is kept. It needs the file
    :data:`SPACE_FILE` of the search's folder where no packaged space is the same.

    Args:
        config: The search.
        winner: The winner's recipe, for a command that runs it alone.
        user_data: Whether the data came as Python objects.
        user_module: Whether the backbone did.
    """
    objects = [what for what, is_one in (("data", user_data), ("backbone", user_module)) if is_one]
    if objects:
        verb = "was" if objects == ["backbone"] else "were"
        return Reproduction(
            notes=(
                f"The {' and '.join(objects)} {verb} given to tune() as Python objects, which "
                "no command can name: call tune() again with the same objects and "
                f"seed={config.seed}.",
            )
        )
    space, text = _space_words(config)
    common = _words(config, _OPTIONS)
    if config.weights != "default":
        common += ["--weights", config.weights]
    words = ["energytune", "search", "--dataset", config.dataset, *common, *space]
    words += ["--seed", str(config.seed), *_words(config, _SEARCH_OPTIONS)]
    words += (
        ["--confirm-seeds", str(config.n_confirm_seeds)]
        if _differs(config, "n_confirm_seeds")
        else []
    )
    if config.time_budget_s is not None:
        words += ["--time-budget", f"{config.time_budget_s!r}s"]
    if config.until != "trials":
        words += ["--until", config.until]
    words += _engine_words(config)
    words += ["--warm-start"] if config.warm_start else []
    words += ["--no-baselines"] if config.baseline_taus == () else []
    alone = ""
    if winner is not None:
        alone = shlex.join(_alone(config, winner, common, space))
    return Reproduction(
        command=shlex.join(words), notes=_notes(config, bool(text)), winner=alone, space=text
    )


def _engine_words(config: SearchConfig) -> _Words:
    engine = config.engine
    words = ["--precision", engine.precision] if engine.precision != "fp32" else []
    words += ["--channels-last"] if engine.channels_last else []
    return words + (["--compile"] if engine.compile else [])


def _alone(config: SearchConfig, winner: Recipe, common: _Words, space: _Words) -> _Words:
    """Returns a search for one recipe, confirmed in the same way and without baselines."""
    words = ["energytune", "search", "--dataset", config.dataset, *common]
    kept = iter(space)
    for word in kept:
        value = next(kept)
        words += [] if word == "--fix" else [word, value]
    words += ["--seed", str(config.seed), "--trials", "1", *_engine_words(config)]
    for name, value in winner.to_dict().items():
        words += ["--fix", f"{name}={_text(value)}"]
    if _differs(config, "n_confirm_seeds"):
        words += ["--confirm-seeds", str(config.n_confirm_seeds)]
    return [*words, "--no-baselines"]


def _space_words(config: SearchConfig) -> tuple[_Words, str]:
    """Returns the options that give the space, and its text where it is no packaged one."""
    default = _default_space(config.dataset)
    for name in dict.fromkeys((default, config.space.name, *list_spaces())):
        if name not in list_spaces():
            continue
        is_default = name == default and config.narrow_depth
        words = _from_packaged(config, load_space(name), narrow=is_default)
        if words is not None:
            return ([] if is_default else ["--space", name]) + words, ""
    return _from_file(config)


def _from_packaged(config: SearchConfig, whole: SearchSpace, *, narrow: bool) -> _Words | None:
    """Returns the options that turn a packaged space into the search's; None if none do."""
    taus = config.baseline_taus
    if taus is not None and taus not in ((), _baseline_taus(whole)):
        return None
    wanted, words = config.space, []
    fixes = {k: v for k, v in wanted.fixed().items() if whole.fixed().get(k) != v}
    depths, whole_depths = wanted.reinit_depth, whole.reinit_depth
    if narrow and depths.low == whole_depths.low and depths.high < whole_depths.high:
        # The backbone can't be cut deeper: the same command narrows it again.
        fixes.pop("reinit_depth", None)
        whole = whole.model_copy(update={"reinit_depth": depths})
    for name, value in fixes.items():
        words += ["--fix", f"{name}={_text(value)}"]
    found = apply_fixes(whole, fixes)
    if wanted.finetune.epochs != found.finetune.epochs:
        words += ["--finetune-epochs", str(wanted.finetune.epochs)]
        finetune = found.finetune.model_copy(update={"epochs": wanted.finetune.epochs})
        found = found.model_copy(update={"finetune": finetune})
    told = {"name", "description"}
    return words if found.model_dump(exclude=told) == wanted.model_dump(exclude=told) else None


def _from_file(config: SearchConfig) -> tuple[_Words, str]:
    """Returns the option that names the space's file, and the text of that file.

    A fixed tau is told by an option: the file keeps the range, from which the baselines come.
    """
    space, words = config.space, ["--space", str(config.out / SPACE_FILE)]
    plain = space.model_dump(mode="json")
    taus = config.baseline_taus or ()
    if (
        "tau" in space.fixed()
        and taus
        and (min(taus), max(taus)) != (space.tau.low, space.tau.high)
    ):
        plain["tau"] |= {"low": min(taus), "high": max(taus)}
        words += ["--fix", f"tau={space.tau.low}"]
    # JSON is YAML as well.
    return words, json.dumps(plain, indent=2)


def _notes(config: SearchConfig, has_file: bool) -> Sequence[str]:
    notes = []
    if config.concurrency != 1:
        n = "several" if config.concurrency is None else str(config.concurrency)
        notes.append(
            f"With --concurrency 1 the same seed gives the same trials. Here {n} ran at once: "
            "their order, and so what the sampler knew when it was asked, is up to the machine."
        )
    if config.time_budget_s is not None:
        notes.append("It ends by the clock: a faster machine runs more trials.")
    if config.warm_start:
        notes.append("It begins from earlier searches beside its folder: other ones, other picks.")
    left_out = [option for name, option in _ELSEWHERE.items() if getattr(config, name) is not None]
    if left_out:
        notes.append(
            f"{', '.join(left_out)} {'is' if len(left_out) == 1 else 'are'} left out: it only says "
            "where the search ran and is kept."
        )
    if has_file:
        notes.append(
            f"The space is no packaged one: it is the file {SPACE_FILE} in the search's folder, "
            "and below."
        )
    return notes


def _default_space(dataset: str) -> str:
    try:
        return get_dataset(dataset).space
    except EnergyTuneError:  # a label of somebody's own data, or no longer there
        return "default"


def _baseline_taus(space: SearchSpace) -> tuple[int, ...]:
    """Returns the taus of the baselines that the command line takes from a space."""
    zero = (0,) if space.tau.low == 0 else ()
    return tuple(dict.fromkeys((*zero, space.tau.high)))


def _words(config: SearchConfig, options: dict[str, str]) -> _Words:
    words = []
    for name, option in options.items():
        if _differs(config, name):
            words += [option, _text(getattr(config, name))]
    return words


def _differs(config: SearchConfig, name: str) -> bool:
    value = getattr(config, name)
    if name == "n_trials":  # whose default depends on how the search ends
        return True
    return value is not None and value != SearchConfig.model_fields[name].default


def _text(value: object) -> str:
    if isinstance(value, Path):
        return str(value.expanduser().absolute())
    return repr(value) if isinstance(value, float) else str(value)
