"""Epochs trained by several processes, started when they are needed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from energytune.data import Split
from energytune.models import TaskModel
from energytune.tasks import Task
from energytune.training.micro_batch import MicroBatch
from energytune.training.sgd import Sgd
from energytune.training.team import Team, TeamOutOfMemory, meeting_file, unsendable
from energytune.training.team_link import (
    Network,
    TeamJob,
    cpu_clone,
    device_of,
    mean_gradient,
    synchronised,
)
from energytune.training.train_epoch import Course, EpochTotals, EpochTrainer, Share

__all__ = ["TeamTrainer"]


class TeamTrainer:
    """Trains a model with helper processes; all that is kept is in this one.

    The helpers start with the first epoch, which takes some seconds, and end with :meth:`close`.
    Where the memory of one of them does not suffice, the epoch is trained again from its
    beginning, by new helpers that take half as many samples at once.

    Args:
        model: On the device, trained in place.
        task: Loss and score.
        course: What the steps follow.
        optimizer: Of the model's parameters.
        micro: How many samples of a share go through at once.
        device: Of this process.
    """

    def __init__(
        self,
        model: TaskModel,
        task: Task,
        course: Course,
        optimizer: Sgd,
        micro: MicroBatch,
        device: torch.device,
    ) -> None:
        self._model, self._task, self._course = model, task, course
        self._optimizer, self._micro, self._device = optimizer, micro, device
        self._team: Team | None = None
        self._trainer: EpochTrainer | None = None

    def run(self, split: Split, epoch: int) -> EpochTotals:
        """Trains for one epoch, from 1.

        Raises:
            TrialFailure: If a helper is lost, or not even an eighth of a share fits into memory.
        """
        weights, momentum = _copies(self._model.state_dict()), _copies(self._optimizer.state())
        while True:
            try:
                return self._run(split, epoch)
            except TeamOutOfMemory as error:
                said = str(error)
            except BaseException:
                self.close()
                raise
            self.close()
            self._model.load_state_dict(weights)
            self._optimizer.load_state(momentum)
            self._micro.halve(self._device, said)

    def close(self) -> None:
        """Ends the helpers; the next epoch starts others."""
        team, self._team, self._trainer = self._team, None, None
        if team is not None:
            team.close()

    def _run(self, split: Split, epoch: int) -> EpochTotals:
        if self._team is None or self._trainer is None:
            self._team, self._trainer = self._gather(split)
        self._team.begin(epoch, self._micro.size)
        try:
            totals = self._trainer.run(split, epoch)
        except Exception as error:
            raise self._team.explain(error) from None
        self._team.end(totals)
        return totals

    def _gather(self, split: Split) -> tuple[Team, EpochTrainer]:
        network = Network(self._model.backbone, self._model.head)
        n_processes = self._course.engine.n_processes
        try:
            clone = cpu_clone(network)
        except Exception as error:  # a user's own module may hold anything
            raise unsendable(error) from error
        momentum, meeting = _copies(self._optimizer.state()), meeting_file()
        jobs = [
            TeamJob(
                network=clone,
                momentum=momentum,
                split=split,
                task=self._task,
                course=self._course,
                rank=rank,
                meeting=meeting,
                device_type=self._device.type,
                n_threads=torch.get_num_threads(),
            )
            for rank in range(1, n_processes)
        ]
        team = Team(jobs, device_of(self._device.type, 0))
        trainer = EpochTrainer(
            synchronised(network, self._device),
            self._task,
            self._course,
            self._optimizer,
            self._micro,
            self._device,
            Share(0, n_processes),
            mean_gradient,
        )
        return team, trainer


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
