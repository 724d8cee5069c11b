"""What a search gives back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energytune.config import Recipe, SearchConfig
from energytune.errors import EnergyTuneError
from energytune.science.noise import SeedNoise
from energytune.search.result_pages import ResultPages
from energytune.tasks import SCORE_NAMES
from energytune.trial import TrialRecord

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    from torch import nn

    from energytune.optimizer import Standing
    from energytune.report.cost_plan import SearchPlan
    from energytune.report.neighbours import Neighbour
    from energytune.tracking import RegisteredModel

__all__ = ["Tracking", "TuneResult", "best_run"]


@dataclass(frozen=True)
class Tracking:
    """Where the search is tracked.

    Attributes:
        uri: MLflow tracking URI, as it was given: with the login, if it holds one.
        link: Deep link to the comparison of the trials; None without a server.
        warning: What was not sent and how to send it later; None if all is there.
        n_unsent: Journal entries not sent.
        run_id: Parent run; None if it was not sent.
    """

    uri: str = field(repr=False)
    link: str | None = None
    warning: str | None = None
    n_unsent: int = 0
    run_id: str | None = None


def best_run(runs: Iterable[TrialRecord]) -> TrialRecord | None:
    """Returns the complete run with the best validation accuracy; None if none is complete.

    Ties go to the lower validation loss, then to the lower seed.
    """
    complete = [(end, run) for run in runs if (end := run.finished) is not None]
    ranked = sorted(complete, key=lambda e: (-e[0].objective, e[0].best_valid_loss, e[1].job.seed))
    return ranked[0][1] if ranked else None


@dataclass(frozen=True)
class TuneResult(ResultPages):
    """Outcome of a search.

    Attributes:
        config: What was searched.
        out: The search's folder.
        records: All trials of the search, by number.
        confirmations: Runs of the best few recipes and both baselines on further seeds; those of
            the winner and the baselines have test results.
        winner: The trial of the recipe with the best mean validation accuracy over the
            confirmation's seeds, which need not be the best single run; that one while there is
            no such mean. None only if the search was interrupted before a trial was complete.
        baselines: ``"tau=0"`` and ``"tau=max"``, as far as they are complete.
        confirmed: How the recipes stand after the confirmation, the winner first: mean, seeds,
            and why one got no more of them.
        seed_noise: Spread of the objective between seeds of one recipe; None if none was repeated.
        registered: The winner in the registry; None if MLflow could not be reached.
        tracking: Where the search is tracked.
        seconds: Seconds by stage: ``total``, ``pretrain``, ``features``, ``start``, ``map`` (the
            energy map, for the sampler that reads it), ``search``, ``hp``, ``ft``, ``confirm``,
            ``tracking``, ``registry``. ``hp`` and ``ft`` are summed over the workers.
        interrupted: Whether the search was stopped before its end.
        n_duplicates: Suggestions that repeated an earlier run and were not run again.
        end_reason: Why the search ended, in words: ``"30 trials"``, ``"time budget of 600 s"``,
            ``"2,000 finetuning epochs"``, ``"converged: expected improvement ..."``, ``"every
            recipe of the space was run"``, or ``"interrupted"``.
        metric: What every score is: ``"accuracy"``, ``"roc_auc"`` or ``"miou"``.
        about: What the search ran on, as JSON values: settings, versions, hashes, sizes.
        plan: What it was planned to cost; None if it went on from an earlier start.
        written_bytes: Bytes of the search's folder and of the features that it has cached.
        report_problem: Why the report could not be written; empty if it was.
    """

    config: SearchConfig
    out: Path
    records: list[TrialRecord]
    confirmations: list[TrialRecord]
    winner: TrialRecord | None
    baselines: Mapping[str, TrialRecord]
    confirmed: Sequence[Standing] = ()
    seed_noise: SeedNoise | None = None
    registered: RegisteredModel | None = None
    tracking: Tracking = Tracking(uri="")
    seconds: Mapping[str, float] = field(default_factory=dict)
    interrupted: bool = False
    n_duplicates: int = 0
    end_reason: str = ""
    model_spec: Mapping[str, Any] = field(default_factory=dict)
    storage: str = field(default="", repr=False)
    study_name: str = ""
    metric: str = "accuracy"
    about: Mapping[str, Any] = field(default_factory=dict, repr=False)
    plan: SearchPlan | None = None
    written_bytes: int = 0
    report_problem: str = ""
    _user_module: nn.Module | None = field(default=None, repr=False)

    @property
    def score_name(self) -> str:
        """What the metric is called for a person: ``"accuracy"``, ``"ROC-AUC"`` or ``"mIoU"``."""
        return SCORE_NAMES[self.metric]

    @property
    def best_recipe(self) -> Recipe:
        """Recipe of the winner.

        Raises:
            EnergyTuneError: If no trial is complete.
        """
        return self._require_winner().job.recipe

    @property
    def seed_deviation(self) -> float | None:
        """Standard deviation of FT-valid-acc between seeds, >= 0; None if it was not measured."""
        return None if self.seed_noise is None else self.seed_noise.deviation

    @property
    def best_confirmation(self) -> TrialRecord:
        """The winner's confirmation run with the best validation accuracy: the model to keep.

        Raises:
            EnergyTuneError: If the winner was not confirmed.
        """
        self._require_winner()
        best = self.model_to_keep
        if best is None:
            raise EnergyTuneError(
                "The winner was not confirmed, so there is no model. Continue the search with "
                f"--out {self.out}."
            )
        return best

    @property
    def model_to_keep(self) -> TrialRecord | None:
        """What :attr:`best_confirmation` is; None if the winner was not confirmed."""
        if self.winner is None:
            return None
        number = self.winner.job.number
        return best_run(r for r in self.confirmations if r.job.number == number)

    def best_model(self) -> nn.Module:
        """Returns the winner's finetuned network in evaluation mode, on the CPU.

        It takes preprocessed inputs and gives logits.

        Raises:
            EnergyTuneError: If the winner was not confirmed.
        """
        from safetensors.torch import load_file

        from energytune.models import build_model, create_backbone, rebuild_model

        finished = self.best_confirmation.finished
        if finished is None or finished.model_path is None:
            raise EnergyTuneError(f"The winner's weights are not in {self.out}. Search again.")
        if self._user_module is not None:
            recipe = self.best_recipe
            model = build_model(
                create_backbone(
                    self._user_module, input_shape=tuple(self.model_spec["input_shape"])
                ),
                head_arch=recipe.head_arch,
                n_outputs=self.model_spec["n_outputs"],
                reinit_depth=recipe.reinit_depth,
                seed=0,
            )
        else:
            model = rebuild_model(dict(self.model_spec))
        model.load_state_dict(load_file(finished.model_path))
        return model.eval()

    @property
    def is_user_module(self) -> bool:
        """Whether the backbone is a user's own module, which no description can rebuild."""
        return self._user_module is not None

    @property
    def mlflow_run_id(self) -> str | None:
        """Id of the search's parent run in MLflow; None if it was not sent."""
        return self.tracking.run_id

    @property
    def trials(self) -> pd.DataFrame:
        """One row a trial: number, state, role, recipe, proxies, FT-valid-acc, adaptation."""
        from energytune.report.tables import trials_frame

        return trials_frame(self.records)

    @property
    def energy_map(self) -> pd.DataFrame:
        """One row a probing snapshot: recipe, epoch, HP-train-acc, AIE, head norm, ..."""
        from energytune.report.tables import energy_map

        return energy_map(self.records)

    def neighbours(self) -> tuple[Neighbour, ...]:
        """Returns the winner's nearest trials at lower and higher ft_lr, smaller and larger tau.

        Raises:
            EnergyTuneError: If no trial is complete.
        """
        from energytune.report.neighbours import neighbours

        return neighbours(self._require_winner(), self.records, self.config.space, self.seed_noise)

    @property
    def study(self) -> optuna.Study:
        """Optuna's study, the record of truth, loaded from its storage."""
        from energytune.optimizer import load_study

        return load_study(self.storage, self.study_name)

    def _require_winner(self) -> TrialRecord:
        if self.winner is None:
            raise EnergyTuneError(
                "No trial is complete, so there is no winner. Continue the search with "
                f"--out {self.out}."
            )
        return self.winner
