"""The test that every cut passes before it is used: a wrong one is refused, never silently used.

Poison test: the forward pass is resumed with a stored input while another image is on record. If
the output is not exactly that of the stored input, something flowed around the cut.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from energytune.errors import CutError
from energytune.models.trace import Recording, record, resume_at, stop_at

__all__ = ["CutTraits", "check_ties", "noise_image", "verify_cut"]

_NOISE = 0.02
"""Standard deviation added to every weight while a cut is tested. Blocks often start with a
branch scaled by zero, through which a wrong cut would not show."""


class CutTraits(NamedTuple):
    """What a cut that holds needs.

    Attributes:
        copies_input: Whether the tail changes its input in place.
        batch_bound: Whether as many inputs must be on record as are resumed.
    """

    copies_input: bool
    batch_bound: bool


def verify_cut(
    module: nn.Module,
    path: str,
    tail_names: frozenset[str],
    tail_modules: frozenset[str],
    shape: tuple[int, ...],
) -> CutTraits:
    """Tests the cut at the input of one module, on a copy of the network with disturbed weights.

    Resuming must give the network's output exactly, in evaluation mode and with the tail in
    training mode; no parameter of the prefix may act through what was recorded; and training the
    tail must not change what the prefix computes.

    Args:
        module: The network.
        path: Name of the module whose input is the cut.
        tail_names: Parameters and buffers of the tail.
        tail_modules: Modules whose training mode is the tail's.
        shape: Shape of one input, without the batch.

    Raises:
        CutError: If the cut does not hold.
    """
    check_ties(module, tail_names)
    subject = _disturbed(module)
    cut = subject.get_submodule(path)
    images = noise_image(2, shape, seed=1)
    # all with gradients: without them attention runs other kernels, equal only up to rounding
    expected = subject(images)
    z = stop_at(subject, cut, images).detach()
    if len(z) != len(images):
        raise CutError(f"the input of {path!r} has {len(z)} rows for {len(images)} images")
    others = noise_image(len(images), shape, seed=2)
    recording, batch_bound = _recording_that_works(subject, cut, path, z, others, expected)
    stored = z.clone()
    version = stored._version
    output = resume_at(subject, cut, stored, recording)
    copies_input = bool(stored._version != version)
    before = {name: p for name, p in subject.named_parameters() if name not in tail_names}
    if used := _reached(output, before):
        # read where it is, a parameter is up to date (a class token); a recorded value is not
        detached = resume_at(subject, cut, z.clone(), recording.detach())
        if stale := sorted(used - _reached(detached, before)):
            raise CutError(f"what comes after {path!r} also uses a result of {stale[0]!r}")
    for part in tail_modules:
        subject.get_submodule(part).training = True
    _check_training(subject, cut, path, images, z, recording)
    return CutTraits(copies_input, batch_bound)


def _disturbed(module: nn.Module) -> nn.Module:
    """Returns a copy in evaluation mode, all weights with noise and gradients."""
    subject = copy.deepcopy(module).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in subject.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=_NOISE)
    for parameter in subject.parameters():
        parameter.requires_grad_(True)
    return subject


def _recording_that_works(
    subject: nn.Module, cut: nn.Module, path: str, z: Tensor, others: Tensor, expected: Tensor
) -> tuple[Recording, bool]:
    """Returns other images on record, by which ``z`` gives exactly ``expected``.

    One image will do for most networks. Some count the images at the start and shape what comes
    later by that number, so that there must be as many.

    Returns:
        The recording, and whether it must be of as many images.

    Raises:
        CutError: If neither works.
    """
    problem, cause = "", None
    for n_images in (1, len(others)):
        recording, _ = record(subject, cut, others[:n_images])
        try:
            output = resume_at(subject, cut, z.clone(), recording)
        except (RuntimeError, ValueError, IndexError, TypeError) as failure:
            problem, cause = (
                f"what comes after {path!r} needs more than its input: {failure}",
                failure,
            )
            continue
        if torch.equal(output, expected):
            return recording, n_images > 1
        problem, cause = (
            f"what comes after {path!r} also depends on what was computed before it",
            None,
        )
    raise CutError(problem) from cause


def check_ties(module: nn.Module, tail_names: frozenset[str]) -> None:
    """Refuses a cut through a weight that both sides hold: to train one would change the other.

    Args:
        module: The network.
        tail_names: Names in its ``state_dict`` that belong to the tail.

    Raises:
        CutError: If there is one.
    """
    prefix: dict[int, str] = {}
    tail: dict[int, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        (tail if name in tail_names else prefix)[id(tensor)] = name
    if tied := sorted(prefix.keys() & tail.keys(), key=lambda key: tail[key]):
        raise CutError(f"{tail[tied[0]]!r} and {prefix[tied[0]]!r} are one shared weight")


def _check_training(
    subject: nn.Module,
    cut: nn.Module,
    path: str,
    images: Tensor,
    z: Tensor,
    recording: Recording,
) -> None:
    """Tests the cut with the tail in training mode, drop path and dropout at work.

    Raises:
        CutError: If it does not hold.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            again = stop_at(subject, cut, images)
            torch.manual_seed(0)
            expected = subject(images)
            torch.manual_seed(0)
            output = resume_at(subject, cut, z.clone(), recording)
        except (RuntimeError, ValueError, IndexError, TypeError) as failure:
            raise CutError(f"training what comes after {path!r} fails: {failure}") from failure
    if not torch.equal(again, z):
        raise CutError(f"what comes before {path!r} is random while what follows is trained")
    if not isinstance(expected, Tensor) or not torch.equal(output, expected):
        raise CutError(f"what comes after {path!r} works otherwise in training mode")


def _reached(output: Tensor, parameters: dict[str, nn.Parameter]) -> set[str]:
    """Returns the names of the parameters on which ``output`` depends."""
    if not parameters or not output.requires_grad:
        return set()
    gradients = torch.autograd.grad(
        output.square().sum(), list(parameters.values()), allow_unused=True
    )
    return {name for name, grad in zip(parameters, gradients, strict=True) if grad is not None}


def noise_image(n_images: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Returns standard normal inputs, (n_images, *shape) float32."""
    return torch.randn(n_images, *shape, generator=torch.Generator().manual_seed(seed))
