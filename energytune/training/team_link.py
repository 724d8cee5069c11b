"""What ties the processes of one finetune together: a group that sums, and what travels beside it.

Nothing listens on a network: the processes meet through a file in a private folder, and sums go
over the loopback interface (gloo) or between the GPUs (NCCL).
"""

from __future__ import annotations

import copy
import io
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from energytune.data import Split
from energytune.models.sync_norm import synchronised_norm
from energytune.tasks import Task
from energytune.training.train_epoch import Course

__all__ = [
    "READY",
    "HelperFailure",
    "Network",
    "TeamJob",
    "cpu_clone",
    "device_of",
    "hear",
    "join",
    "leave",
    "mean_gradient",
    "say",
    "synchronised",
]

_TIMEOUT = timedelta(minutes=15)
_LOOPBACK = "lo"

READY = "ready"
"""What a helper says before it joins."""


class Network(nn.Module):
    """Backbone and head of a model, without what a finetune has no use for.

    Its parameters have the names and the order that they have in the model.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits (N, K, ...) of inputs (N, ...)."""
        logits: Tensor = self.head(self.backbone(x))
        return logits


@dataclass(frozen=True)
class TeamJob:
    """All that a helper process is told, once.

    Attributes:
        network: With its weights, on the CPU.
        momentum: By parameter name, on the CPU.
        split: The training split; it reads its own share.
        task: Loss and score.
        course: What the steps follow.
        rank: Of the helper, from 1.
        meeting: File through which the processes meet.
        device_type: ``"cpu"`` or ``"cuda"``.
        n_threads: CPU threads.
    """

    network: Network
    momentum: dict[str, Tensor]
    split: Split
    task: Task
    course: Course
    rank: int
    meeting: Path
    device_type: str
    n_threads: int


@dataclass(frozen=True)
class HelperFailure:
    """What a helper says before it gives up.

    Attributes:
        text: Type and message of the error.
        out_of_memory: Whether it was for want of memory.
    """

    text: str
    out_of_memory: bool


def device_of(device_type: str, rank: int) -> torch.device:
    """Returns the device of a process: each has a GPU of its own."""
    return torch.device(device_type, rank) if device_type == "cuda" else torch.device(device_type)


def cpu_clone(network: Network) -> Network:
    """Returns the same network with its tensors on the CPU."""
    memo: dict[int, Any] = {}
    for tensor in network.state_dict(keep_vars=True).values():
        moved = tensor.detach().cpu()
        is_learnt = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(moved, tensor.requires_grad) if is_learnt else moved
    return copy.deepcopy(network, memo)


def synchronised(network: Network, device: torch.device) -> nn.Module:
    """Returns the network as it is trained: torch can synchronise statistics on GPUs only."""
    return synchronised_norm(network) if device.type == "cuda" else network


def join(meeting: Path, rank: int, n_processes: int, device: torch.device) -> None:
    """Joins the group; returns when all are there.

    Raises:
        RuntimeError: If the others do not come.
    """
    is_gpu = device.type == "cuda"
    if is_gpu:
        torch.cuda.set_device(device)
    with _settings():
        dist.init_process_group(
            "nccl" if is_gpu else "gloo",
            store=dist.FileStore(  # type: ignore[attr-defined]
                str(meeting), n_processes
            ),
            rank=rank,
            world_size=n_processes,
            timeout=_TIMEOUT,
            device_id=device if is_gpu else None,
        )


def leave(*, at_once: bool) -> None:
    """Leaves the group.

    Args:
        at_once: Whether the others may be gone: what waits for them is broken off.
    """
    if not dist.is_initialized():
        return
    if at_once and dist.get_backend() == "nccl":
        dist.distributed_c10d._abort_process_group()
        return
    dist.destroy_process_group()


def mean_gradient(gradients: list[Tensor], n_labels: int) -> list[Tensor]:
    """Returns the gradient of a batch's mean loss from that of every process's share.

    Args:
        gradients: Of the mean loss over this process's share, one tensor per parameter.
        n_labels: What that is a mean over; 0 where the share counts nothing.
    """
    sizes = [gradient.numel() for gradient in gradients]
    scaled = [gradient.reshape(-1) * n_labels for gradient in gradients]
    count = scaled[0].new_full((1,), float(n_labels))
    flat = torch.cat([*scaled, count])
    dist.all_reduce(flat)
    flat /= flat[-1].clamp_min(1.0)
    parts = torch.split(flat[:-1], sizes)
    return [part.view(g.shape) for part, g in zip(parts, gradients, strict=True)]


def say(pipe: Connection, what: object) -> None:
    """Sends an object with its tensors; these are not shared, as ``Connection.send`` would."""
    buffer = io.BytesIO()
    torch.save(what, buffer)
    pipe.send_bytes(buffer.getbuffer())


def hear(pipe: Connection) -> Any:
    """Returns what a process of our own said, its tensors on the CPU.

    Raises:
        EOFError: If it is gone.
    """
    return torch.load(io.BytesIO(pipe.recv_bytes()), map_location="cpu", weights_only=False)


@contextmanager
def _settings() -> Iterator[None]:
    """Sets what the groups read from the environment when they are made; the user's own stay.

    What the processes say to each other stays on this machine. And where one is lost NCCL must
    leave the others alive: by itself it ends their processes, with all that they know.
    """
    wanted = {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "0"}
    if _LOOPBACK in {name for _, name in socket.if_nameindex()}:
        wanted |= dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), _LOOPBACK)
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
