"""Which finetuning epoch is the best, and when a finetune that gets no better is stopped.

Pure functions for two users: :class:`~energytune.training.finetune.Finetuner` asks after each
epoch, a replay of stored curves asks about a whole one, and both end at the same epoch.

The rule looks at the validation curve many times, so it is biased towards lucky epochs just as the
choice of the best epoch is; the test split tells how good the result is.
"""

from __future__ import annotations

from collections.abc import Iterable

from energytune.errors import ConfigError

__all__ = ["has_stopped", "rank", "stop_epoch", "stop_reason"]


def rank(valid_acc: float, valid_loss: float) -> tuple[float, float]:
    """Returns what epochs are compared by: a later epoch is a new best only if it is greater.

    The higher accuracy wins, equal accuracies go to the lower loss, equal epochs to the earlier.

    Args:
        valid_acc: Validation accuracy, in [0, 1].
        valid_loss: Validation loss, in nats; finite.
    """
    return valid_acc, -valid_loss


def has_stopped(epoch: int, best_epoch: int, patience_epochs: int | None) -> bool:
    """Returns whether a finetune goes no further after ``epoch``.

    Args:
        epoch: Epochs that were run, >= 1.
        best_epoch: The best one of them, in 1..``epoch``.
        patience_epochs: Epochs in a row without a new best that end it, >= 1; None never does.
    """
    return patience_epochs is not None and epoch - best_epoch >= patience_epochs


def stop_epoch(curve: Iterable[tuple[float, float]], patience_epochs: int | None) -> int | None:
    """Returns the epoch after which a finetune with this curve is stopped.

    No epoch after the returned one is looked at. It may be the curve's last, where a finetune ends
    anyway, so the epochs that are run are ``stop_epoch(curve, patience) or len(curve)``.

    Args:
        curve: (validation accuracy, validation loss) of the epochs 1, 2, 3, ...; all finite.
        patience_epochs: Epochs in a row without a new best that end it, >= 1; None never does.

    Returns:
        The epoch, from 1; None if the curve is not stopped.

    Raises:
        ConfigError: If ``patience_epochs`` is below 1.
    """
    if patience_epochs is not None and patience_epochs < 1:
        raise ConfigError(
            f"patience_epochs must be at least 1, or None to never stop. Got {patience_epochs}."
        )
    best: tuple[float, float] | None = None
    best_epoch = 0
    for epoch, (valid_acc, valid_loss) in enumerate(curve, start=1):
        seen = rank(valid_acc, valid_loss)
        if best is None or seen > best:
            best, best_epoch = seen, epoch
        if has_stopped(epoch, best_epoch, patience_epochs):
            return epoch
    return None


def stop_reason(best_epoch: int, patience_epochs: int) -> str:
    """Returns why a finetune was stopped, in words that name no prune and no failure."""
    epochs = "epoch" if patience_epochs == 1 else "epochs"
    return (
        f"stopped: no better validation since epoch {best_epoch}, "
        f"patience {patience_epochs} {epochs}"
    )
