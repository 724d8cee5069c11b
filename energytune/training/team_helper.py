"""A helper process of a finetune: it trains on its share of every batch, and ends with its owner.

Started as ``python -m energytune.training.team_helper FD PID``, where FD is a socket to the owner
and PID is the owner. A thread reads the socket: when the owner is gone, however it ended, so is the
helper.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue

import torch

from energytune.training.engine import laid_out
from energytune.training.micro_batch import MicroBatch, is_out_of_memory
from energytune.training.sgd import Sgd
from energytune.training.team_link import (
    READY,
    HelperFailure,
    TeamJob,
    device_of,
    join,
    mean_gradient,
    say,
    synchronised,
)
from energytune.training.train_epoch import EpochTrainer, Share

__all__ = ["main"]

_LOOK_S = 2.0


def main() -> None:
    """Trains epochs as they are asked for; never returns."""
    owner, owner_pid = Connection(int(sys.argv[1])), int(sys.argv[2])
    # our own process at the other end of a socket that no other has
    job: TeamJob = pickle.loads(owner.recv_bytes())
    orders: SimpleQueue[tuple[int, int]] = SimpleQueue()
    threading.Thread(target=_listen, args=(owner, owner_pid, orders), daemon=True).start()
    try:
        _work(job, owner, orders)
    except BaseException as error:
        say(owner, HelperFailure(f"{type(error).__name__}: {error}", is_out_of_memory(error)))
    os._exit(1)  # whatever else runs in here: the owner must see the end


def _listen(owner: Connection, owner_pid: int, orders: SimpleQueue[tuple[int, int]]) -> None:
    try:
        # a process that the owner forked may hold its end of the socket longer than the owner
        while os.getppid() == owner_pid:
            if owner.poll(_LOOK_S):
                orders.put(owner.recv())
    except (EOFError, OSError):
        pass
    os._exit(0)


def _work(job: TeamJob, owner: Connection, orders: SimpleQueue[tuple[int, int]]) -> None:
    torch.set_num_threads(job.n_threads)
    device = device_of(job.device_type, job.rank)
    network = job.network.to(device)
    laid_out(network, job.course.engine)
    optimizer = Sgd(
        list(network.named_parameters()),
        momentum=job.course.config.momentum,
        weight_decay=job.course.config.weight_decay,
    )
    optimizer.load_state(job.momentum)
    share = Share(job.rank, job.course.engine.n_processes)
    micro = MicroBatch({"helper": True}, share.largest(job.course.config.batch_size))
    say(owner, READY)
    join(job.meeting, job.rank, share.n_processes, device)
    trainer = EpochTrainer(
        synchronised(network, device),
        job.task,
        job.course,
        optimizer,
        micro,
        device,
        share,
        mean_gradient,
    )
    while True:
        epoch, micro.size = orders.get()
        say(owner, trainer.run(job.split, epoch))


if __name__ == "__main__":
    main()
