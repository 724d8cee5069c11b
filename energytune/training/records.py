"""What the two training stages yield."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FinetuneEpoch", "ProbeSnapshot"]


@dataclass(frozen=True)
class ProbeSnapshot:
    """Head probing seen at the end of an epoch (0 = the random head).

    Attributes:
        epoch: Number of finished probing epochs, >= 0.
        train_acc: HP-train-accuracy, in [0, 1], in evaluation mode; for other tasks than
            classification the task's own metric (``Task.metric``).
        train_loss: Loss on the training set without smoothing, in nats.
        valid_acc: HP-valid-accuracy, in [0, 1].
        valid_loss: Loss on the validation set without smoothing, in nats.
        aie: Average initial energy on the training set, >= 0; at most sqrt(2) for a softmax.
        head_norm: L2 norm of all head parameters (tail of ``reinit_depth`` included).
        pull_norm: Mean over training samples of the norm of the loss's gradient by what flows
            through the cut: ||W^T e||_2 for a linear head, direction times energy of [Ren2023]_,
            Eq. 2. It can rise while AIE falls, when the head's weights grow.
        n_views: Views of each training image that probing saw; 1 is the evaluation transform.
        aie_balanced: The energy with every class of pixels, or every yes and no of each label,
            weighing alike; None where a sample has one class.
        aie_per_label: Mean over samples of the energy by the root of the number of its labels, in
            [0, 1]; None but for multi-label targets.
        foreground_acc: Share of right pixels among those of other classes than 0; None but for
            pixels.
    """

    epoch: int
    train_acc: float
    train_loss: float
    valid_acc: float
    valid_loss: float
    aie: float
    head_norm: float
    pull_norm: float
    n_views: int = 1
    aie_balanced: float | None = None
    aie_per_label: float | None = None
    foreground_acc: float | None = None


@dataclass(frozen=True, slots=True)
class FinetuneEpoch:
    """One finetuning epoch; of these a long search keeps hundreds of thousands.

    Attributes:
        epoch: From 1.
        train_loss: Mean loss over the epoch's batches while training, in nats.
        train_acc: Accuracy over the epoch's batches while training, in [0, 1]; like
            ``valid_acc`` the task's own metric (``Task.metric``).
        valid_loss: Loss on the validation set after the epoch, in nats.
        valid_acc: Validation accuracy after the epoch, in [0, 1].
    """

    epoch: int
    train_loss: float
    train_acc: float
    valid_loss: float
    valid_acc: float
