"""Settings of supervised pretraining."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from energytune.config.problems import describe_problems
from energytune.config.stages import FinetuneConfig
from energytune.errors import ConfigError

__all__ = ["PretrainSettings", "pretrain_settings"]


class PretrainSettings(BaseModel):
    """Everything that defines a pretraining; its fields are those of ``energytune pretrain``.

    Attributes:
        dataset: What the backbone is pretrained on.
        backbone: Name of the backbone, which starts from random weights.
        epochs: Passes over the training split.
        lr: Peak learning rate; it falls to 0 along a cosine.
        momentum: In [0, 1).
        weight_decay: L2 penalty, >= 0.
        batch_size: Samples a step.
        label_smoothing: In [0, 1).
        augment: Whether training images are randomly cropped and flipped.
        keep: ``"best"`` keeps the weights of the best epoch by validation, ``"last"`` the last.
        seed: Of initialisation, batch order and augmentation.
        image_size: Side of the input images in pixels; None is the backbone's.
        data_root: Folder under which datasets lie; None is the user's data folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    backbone: str
    epochs: int = Field(default=200, ge=1)
    lr: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0, allow_inf_nan=False)
    batch_size: int = Field(default=128, ge=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    augment: bool = True
    keep: Literal["best", "last"] = "best"
    seed: int = Field(default=0, ge=0, lt=2**31)
    image_size: int | None = Field(default=None, ge=1)
    data_root: Path | None = None

    def schedule(self) -> FinetuneConfig:
        """Returns the training of the whole network in the form that finetuning takes."""
        return FinetuneConfig(
            epochs=self.epochs,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            schedule="cosine",
            augment=self.augment,
            patience=None,
        )

    def identity(self) -> dict[str, Any]:
        """Returns all that decides the weights, as JSON values."""
        return self.model_dump(mode="json", exclude={"data_root"})


def pretrain_settings(**values: Any) -> PretrainSettings:
    """Returns the settings.

    Raises:
        ConfigError: If a value breaks a rule; the message has all of them.
    """
    try:
        return PretrainSettings.model_validate(values)
    except ValidationError as error:
        problems = describe_problems(PretrainSettings, error, values)
        head = f"{len(problems)} settings are wrong:" if len(problems) > 1 else ""
        raise ConfigError("\n  ".join([head, *problems]) if head else problems[0]) from None
