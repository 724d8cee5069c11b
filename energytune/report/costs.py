"""What a search has cost, in seconds and in epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from energytune.trial import TrialRecord

__all__ = ["Costs", "costs"]


@dataclass(frozen=True)
class Costs:
    """Cost of a search, the confirmation apart.

    Attributes:
        seconds: Wall-clock seconds by stage, as the search measured them.
        n_complete: Trials that finished, those that stopped by themselves included.
        n_stopped: Complete trials whose finetuning stopped by itself before its last epoch.
        n_pruned: Trials that the search stopped, or paused and never let go on.
        n_failed: Trials that failed.
        ft_epochs: Finetuning epochs of the search's trials.
        ft_epochs_confirm: Finetuning epochs of the confirmation.
        hp_epochs: Probing epochs that the search's trials wanted, the sum of their tau.
        hp_epochs_run: Probing epochs that were run; the rest came from snapshots.
        trial_seconds_hp: Sum over trials of seconds in probing; trials run side by side.
        trial_seconds_ft: The same in finetuning.
    """

    seconds: Mapping[str, float]
    n_complete: int
    n_stopped: int
    n_pruned: int
    n_failed: int
    ft_epochs: int
    ft_epochs_confirm: int
    hp_epochs: int
    hp_epochs_run: int
    trial_seconds_hp: float
    trial_seconds_ft: float


def costs(
    records: Sequence[TrialRecord],
    confirmations: Sequence[TrialRecord] = (),
    seconds: Mapping[str, float] | None = None,
) -> Costs:
    """Adds up what the trials of a search have cost.

    Args:
        records: Trials of the search; repetitions of a trial cost nothing and don't count.
        confirmations: Records of the confirmation.
        seconds: Wall-clock seconds by stage.
    """
    run = [record for record in records if record.duplicate_of is None]
    n_of = {state: sum(r.state == state for r in run) for state in ("COMPLETE", "PRUNED", "FAIL")}
    return Costs(
        seconds=dict(seconds or {}),
        n_complete=n_of["COMPLETE"],
        n_stopped=sum(bool(record.stop_reason) for record in run),
        n_pruned=n_of["PRUNED"],
        n_failed=n_of["FAIL"],
        ft_epochs=sum(len(r.epochs) for r in run),
        ft_epochs_confirm=sum(len(r.epochs) for r in confirmations),
        hp_epochs=sum(r.probe.epoch for r in run if r.probe is not None),
        hp_epochs_run=sum(r.n_hp_epochs_run for r in run),
        trial_seconds_hp=sum(r.seconds_hp for r in run),
        trial_seconds_ft=sum(r.seconds_ft for r in run),
    )
