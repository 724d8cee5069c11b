"""The pruner of a search by name, and the rungs at which its trials wait."""

from __future__ import annotations

from optuna.pruners import BasePruner

from energytune.optimizer.promotion import Rungs
from energytune.optimizer.pruner import EnergyPruner, make_pruner
from energytune.optimizer.rungs import no_pruner, successive_halving

__all__ = ["make_halving"]


def make_halving(pruner: str, n_ft_epochs: int) -> tuple[BasePruner, Rungs]:
    """Returns what stops the trials of a search for good, and where they wait.

    With ``"energy"`` the energy rules decide before finetuning; after that nothing is stopped for
    good, for trials wait at the rungs of successive halving. A search that can't go back to a
    trial, such as ``study.optimize``, uses :func:`~energytune.optimizer.make_pruner` instead.

    Args:
        pruner: ``"energy"``, ``"median"`` or ``"none"``.
        n_ft_epochs: Finetuning epochs of a whole trial, >= 1.

    Returns:
        The pruner, and the rungs: none but with ``"energy"``.

    Raises:
        UnknownNameError: If there is no pruner of that name.
        ConfigError: If ``n_ft_epochs`` is below 1.
    """
    if pruner != "energy":
        return make_pruner(pruner, n_ft_epochs), Rungs(())
    halving = successive_halving(n_ft_epochs)
    rungs = Rungs(halving.epochs, halving.reduction_factor)
    return EnergyPruner(n_ft_epochs, inner=no_pruner(n_ft_epochs)), rungs
