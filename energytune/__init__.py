"""How long to train a task head before finetuning, found by its adaptation energy (AIE).

    from energytune import probe, resume, tune
    energy_map = probe("digits")
    result = tune("digits", n_trials=30, seed=0)
    result = resume(result.out, n_trials="+20")

    from energytune import load_champion
    load_champion("digits").predict(["seven.png"])

Importing the package loads nothing heavy and changes nothing; :func:`tune` and :func:`resume`
bring in torch, Ray, Optuna and MLflow when they are first looked up, :func:`probe` and
:func:`pretrain` torch alone, :func:`load_champion` torch and MLflow.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energytune.optimizer.energy_sampler import EnergySampler
    from energytune.optimizer.pruner import EnergyPruner
    from energytune.search.energy_map import EnergyMap
    from energytune.search.pretrain import PretrainResult, pretrain
    from energytune.search.probe_map import probe
    from energytune.search.result import TuneResult
    from energytune.tracking.load import load_champion
    from energytune.tune import resume, tune

__all__ = [
    "EnergyMap",
    "EnergyPruner",
    "EnergySampler",
    "PretrainResult",
    "TuneResult",
    "__version__",
    "load_champion",
    "pretrain",
    "probe",
    "resume",
    "tune",
]

__version__ = "0.1.0"


class _Package(ModuleType):
    """The package itself, which finds its public names when they are asked for.

    A module ``__getattr__`` would not do for ``tune``: importing the module ``energytune.tune``
    anywhere binds the module under that name, and the function would be gone.
    """

    @property
    def tune(self) -> Any:
        """The function :func:`energytune.tune.tune`."""
        from energytune.tune import tune

        return tune

    @tune.setter
    def tune(self, module: ModuleType) -> None:
        """Refuses the module of the same name, which Python binds here when it is imported."""

    @property
    def resume(self) -> Any:
        """The function :func:`energytune.tune.resume`."""
        from energytune.tune import resume

        return resume

    @property
    def probe(self) -> Any:
        """The function :func:`energytune.search.probe_map.probe`."""
        from energytune.search.probe_map import probe

        return probe

    @property
    def pretrain(self) -> Any:
        """The function :func:`energytune.search.pretrain.pretrain`."""
        from energytune.search.pretrain import pretrain

        return pretrain

    @property
    def load_champion(self) -> Any:
        """The function :func:`energytune.tracking.load.load_champion`."""
        from energytune.tracking.load import load_champion

        return load_champion

    @property
    def PretrainResult(self) -> Any:  # noqa: N802 - the name of a class
        """The class :class:`energytune.search.pretrain.PretrainResult`."""
        from energytune.search.pretrain import PretrainResult

        return PretrainResult

    @property
    def EnergyMap(self) -> Any:  # noqa: N802 - the name of a class
        """The class :class:`energytune.search.EnergyMap`."""
        from energytune.search.energy_map import EnergyMap

        return EnergyMap

    @property
    def EnergyPruner(self) -> Any:  # noqa: N802 - the name of a class
        """The class :class:`energytune.optimizer.EnergyPruner`."""
        from energytune.optimizer.pruner import EnergyPruner

        return EnergyPruner

    @property
    def EnergySampler(self) -> Any:  # noqa: N802 - the name of a class
        """The class :class:`energytune.optimizer.energy_sampler.EnergySampler`."""
        from energytune.optimizer.energy_sampler import EnergySampler

        return EnergySampler

    @property
    def TuneResult(self) -> Any:  # noqa: N802 - the name of a class
        """The class :class:`energytune.search.TuneResult`."""
        from energytune.search.result import TuneResult

        return TuneResult

    def __dir__(self) -> list[str]:
        """Lists the public names too."""
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
