"""The optimizer: Optuna's study as the one truth of a search, its sampler and its pruner."""

from energytune.optimizer.attrs import records_from_study
from energytune.optimizer.candidates import best_first, pick_candidates
from energytune.optimizer.confirm import ConfirmSource, Standing
from energytune.optimizer.convergence import StudyConvergence
from energytune.optimizer.energy_lookup import MapLookup
from energytune.optimizer.final import FinalSource
from energytune.optimizer.halving import make_halving
from energytune.optimizer.lease import StudyLease
from energytune.optimizer.pruner import EnergyPruner, make_pruner
from energytune.optimizer.repeats import BaselineRepeats
from energytune.optimizer.samplers import Sampler, make_sampler
from energytune.optimizer.serial import optimize_serially
from energytune.optimizer.source import StudySource
from energytune.optimizer.study import load_study, open_study, other_studies
from energytune.optimizer.suggest import distributions, suggest
from energytune.optimizer.versions import bring_up_to_date

__all__ = [
    "BaselineRepeats",
    "ConfirmSource",
    "EnergyPruner",
    "FinalSource",
    "MapLookup",
    "Sampler",
    "Standing",
    "StudyConvergence",
    "StudyLease",
    "StudySource",
    "best_first",
    "bring_up_to_date",
    "distributions",
    "load_study",
    "make_halving",
    "make_pruner",
    "make_sampler",
    "open_study",
    "optimize_serially",
    "other_studies",
    "pick_candidates",
    "records_from_study",
    "suggest",
]
