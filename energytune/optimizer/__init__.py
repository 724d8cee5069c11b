"""The optimizer: Optuna's study as the one truth of a search, its sampler and its pruner."""

from energytune.optimizer.attrs import records_from_study
from energytune.optimizer.confirm import ConfirmSource
from energytune.optimizer.pruner import EnergyPruner, make_pruner
from energytune.optimizer.samplers import make_sampler
from energytune.optimizer.serial import optimize_serially
from energytune.optimizer.source import StudySource
from energytune.optimizer.study import load_study, open_study
from energytune.optimizer.suggest import suggest

__all__ = [
    "ConfirmSource",
    "EnergyPruner",
    "StudySource",
    "load_study",
    "make_pruner",
    "make_sampler",
    "open_study",
    "optimize_serially",
    "records_from_study",
    "suggest",
]
