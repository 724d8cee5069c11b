"""The options of ``energytune search`` as one value: to settings, and back to a command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energytune.cli.duration import parse_duration
from energytune.errors import ConfigError

if TYPE_CHECKING:
    from energytune.config import Recipe, SearchConfig, SearchSpace

__all__ = ["SearchOptions", "format_value"]

_OPTION_OF = {
    "n_trials": "--trials",
    "time_budget_s": "--time-budget",
    "ft_epochs_budget": "--ft-epochs",
    "checkpoint_s": "--checkpoint-every",
    "n_confirm_seeds": "--confirm-seeds",
    "n_confirm_recipes": "--confirm-recipes",
}


@dataclass(frozen=True)
class SearchOptions:
    """What was asked for on the command line; None where nothing was said.

    Attributes:
        dataset: ``--dataset``.
        backbone: ``--backbone``.
        checkpoint: ``--checkpoint``.
        checkpoint_prefix: ``--checkpoint-prefix``.
        image_size: ``--image-size``.
        weights: ``--weights``.
        data_root: ``--data-root``.
        head: ``--head``, the same as ``--fix head_arch=...``.
        space: ``--space``, a name or a file.
        trials: ``--trials``.
        seed: ``--seed``.
        time_budget: ``--time-budget``, for example ``"30m"``.
        ft_epochs: ``--ft-epochs``, of all trials together.
        gpu_hours: ``--gpu-hours``.
        max_disk: ``--max-disk``, for example ``"20GB"``.
        until: ``--until``, ``"trials"`` or ``"converged"``.
        concurrency: ``--concurrency``.
        gpus_per_trial: ``--gpus-per-trial``.
        precision: ``--precision``, ``"fp32"`` or ``"bf16"``.
        channels_last: True for ``--channels-last``.
        compile: True for ``--compile``.
        cpus_per_trial: ``--cpus-per-trial``.
        fix: Each ``--fix`` as it was written.
        baselines: False for ``--no-baselines``.
        finetune_epochs: ``--finetune-epochs``, in place of the space's.
        sampler: ``--sampler``.
        pruner: ``--pruner``.
        warm_start: True for ``--warm-start``.
        checkpoint_every: ``--checkpoint-every``, for example ``"30s"``.
        confirm_seeds: ``--confirm-seeds``.
        confirm_recipes: ``--confirm-recipes``.
        out: ``--out``.
        tracking_uri: ``--tracking-uri``.
        storage: ``--storage``.
        ray_address: ``--ray-address``.
        storage_path: ``--storage-path``.
        cache_budget: ``--cache-budget``.
    """

    dataset: str = "digits"
    backbone: str | None = None
    checkpoint: Path | None = None
    checkpoint_prefix: str | None = None
    image_size: int | None = None
    weights: str | None = None
    data_root: Path | None = None
    head: str | None = None
    space: str | None = None
    trials: int | None = None
    seed: int | None = None
    time_budget: str | None = None
    ft_epochs: int | None = None
    gpu_hours: float | None = None
    max_disk: str | None = None
    until: str | None = None
    concurrency: int | None = None
    gpus_per_trial: float | None = None
    precision: str | None = None
    channels_last: bool = False
    compile: bool = False
    cpus_per_trial: int | None = None
    fix: tuple[str, ...] = ()
    baselines: bool = True
    finetune_epochs: int | None = None
    sampler: str | None = None
    pruner: str | None = None
    warm_start: bool = False
    checkpoint_every: str | None = None
    confirm_seeds: int | None = None
    confirm_recipes: int | None = None
    out: Path | None = None
    tracking_uri: str | None = None
    storage: str | None = None
    ray_address: str | None = None
    storage_path: str | None = None
    cache_budget: str | None = None

    def to_config(self, default_space: str) -> SearchConfig:
        """Returns the settings of the search.

        Args:
            default_space: Name of the space that is searched if ``--space`` names none.

        Raises:
            ConfigError: Options break a rule; the message has all of them.
            UnknownNameError: There is no such space.
        """
        from pydantic import ValidationError

        from energytune.config import SearchConfig
        from energytune.config.load import apply_fixes, load_space
        from energytune.config.problems import describe_problems
        from energytune.search.folder import default_out

        whole = load_space(self.space or default_space)
        space = self._with_finetune_epochs(apply_fixes(whole, self._fixes()))
        given: dict[str, Any] = {
            "dataset": self.dataset,
            "backbone": self.backbone,
            "checkpoint": self.checkpoint,
            "checkpoint_prefix": self.checkpoint_prefix,
            "image_size": self.image_size,
            "weights": self.weights,
            "data_root": self.data_root,
            "n_trials": self.trials,
            "seed": self.seed,
            "time_budget_s": parse_duration(self.time_budget) if self.time_budget else None,
            "ft_epochs_budget": self.ft_epochs,
            "gpu_hours": self.gpu_hours,
            "max_disk": self.max_disk,
            "until": self.until,
            "concurrency": self.concurrency,
            "gpus_per_trial": self.gpus_per_trial,
            "engine": self._engine() or None,
            "cpus_per_trial": self.cpus_per_trial,
            "sampler": self.sampler,
            "pruner": self.pruner,
            "warm_start": self.warm_start or None,
            "checkpoint_s": self._checkpoint_s(),
            "n_confirm_seeds": self.confirm_seeds,
            "n_confirm_recipes": self.confirm_recipes,
            "tracking_uri": self.tracking_uri,
            "storage": self.storage,
            "ray_address": self.ray_address,
            "storage_path": self.storage_path,
            "cache_budget": self.cache_budget,
        }
        data = {name: value for name, value in given.items() if value is not None}
        data |= {
            "space": space,
            "narrow_depth": self.space is None,
            "baseline_taus": _baseline_taus(whole) if self.baselines else (),
            "out": self.out or default_out(self.dataset),
        }
        try:
            return SearchConfig.model_validate(data)
        except ValidationError as error:
            raise _option_error(describe_problems(SearchConfig, error, data)) from None

    def command(self) -> str:
        """Returns the ``energytune search`` command with these options, quoted for a shell."""
        words = ["energytune", "search", "--dataset", self.dataset]
        for name in _COMMAND_ORDER:
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if one is not None:
                    words += [f"--{name.replace('_', '-')}", format_value(one)]
        flags = ("channels_last", "compile", "warm_start")
        words += [f"--{name.replace('_', '-')}" for name in flags if getattr(self, name)]
        return shlex.join(words if self.baselines else [*words, "--no-baselines"])

    def reproduce(self, recipe: Recipe, seed: int) -> SearchOptions:
        """Returns options that run ``recipe`` and nothing else, and confirm it the same way.

        Without baselines: with every other dimension fixed they would be other runs than those
        of the search (a tau max at the recipe's depth and rate), dear, and might win.

        Args:
            recipe: What to run.
            seed: The search's seed.
        """
        return replace(
            self,
            seed=seed,
            trials=1,
            baselines=False,
            head=None,
            fix=tuple(f"{name}={format_value(v)}" for name, v in recipe.to_dict().items()),
            # What only says where and for how long the old search ran.
            out=None,
            storage=None,
            time_budget=None,
            ft_epochs=None,
            gpu_hours=None,
            max_disk=None,
            until=None,
            sampler=None,
            pruner=None,
            warm_start=False,
            confirm_recipes=None,
        )

    def at(self, out: Path, trials: int | None = None) -> SearchOptions:
        """Returns the same options for the folder ``out``.

        With ``trials`` they are for so many, without a limit of epochs, GPU-hours or convergence
        that may have ended the search earlier; a time budget counts anew.
        """
        if trials is None:
            return replace(self, out=out)
        return replace(self, out=out, trials=trials, ft_epochs=None, gpu_hours=None, until=None)

    def _checkpoint_s(self) -> float | None:
        if self.checkpoint_every is None:
            return None
        return parse_duration(self.checkpoint_every, option="--checkpoint-every", may_be_zero=True)

    def _fixes(self) -> dict[str, Any]:
        from energytune.config.load import parse_fix

        fixes: dict[str, Any] = {}
        texts = [*self.fix, *([f"head_arch={self.head}"] if self.head else [])]
        for text in texts:
            name, value = parse_fix(text)
            if fixes.get(name, value) != value:
                raise ConfigError(
                    f"{name} is fixed twice, to {fixes[name]} and to {value}. Keep one of them."
                )
            fixes[name] = value
        return fixes

    def _with_finetune_epochs(self, space: SearchSpace) -> SearchSpace:
        if self.finetune_epochs is None:
            return space
        if self.finetune_epochs < 1:
            raise ConfigError(f"--finetune-epochs must be at least 1, got {self.finetune_epochs}.")
        finetune = space.finetune.model_copy(update={"epochs": self.finetune_epochs})
        return space.model_copy(update={"finetune": finetune})

    def _engine(self) -> dict[str, Any]:
        given = {
            "precision": self.precision,
            "channels_last": self.channels_last or None,
            "compile": self.compile or None,
        }
        return {name: value for name, value in given.items() if value is not None}


_COMMAND_ORDER = (
    "backbone",
    "checkpoint",
    "checkpoint_prefix",
    "image_size",
    "weights",
    "data_root",
    "space",
    "seed",
    "trials",
    "head",
    "fix",
    "finetune_epochs",
    "sampler",
    "pruner",
    "checkpoint_every",
    "confirm_seeds",
    "confirm_recipes",
    "time_budget",
    "ft_epochs",
    "gpu_hours",
    "max_disk",
    "until",
    "concurrency",
    "cpus_per_trial",
    "gpus_per_trial",
    "precision",
    "ray_address",
    "storage_path",
    "cache_budget",
    "storage",
    "tracking_uri",
    "out",
)


def format_value(value: object) -> str:
    """Returns a value as an option takes it; a float is read back as the same float."""
    return repr(value) if isinstance(value, float) else str(value)


def _baseline_taus(space: SearchSpace) -> tuple[int, ...]:
    """Returns 0 (if the space has it) and the largest tau of a space before it is narrowed."""
    zero = (0,) if space.tau.low == 0 else ()
    return tuple(dict.fromkeys((*zero, space.tau.high)))


def _option_error(problems: list[str]) -> ConfigError:
    """Returns the error with the fields' names turned into those of the options."""
    lines = []
    for problem in problems:
        field, rest = problem.removeprefix("engine.").split(" ", 1)
        option = _OPTION_OF.get(field, "--" + field.replace("_", "-"))
        lines.append(f"{option} {rest}")
    if len(lines) == 1:
        return ConfigError(lines[0])
    return ConfigError(f"{len(lines)} options are wrong:" + "".join(f"\n  {x}" for x in lines))
