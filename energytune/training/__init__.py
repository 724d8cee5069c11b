"""The two training stages and what they need: features, head probing, finetuning."""

from energytune.training.records import FinetuneEpoch, ProbeSnapshot

__all__ = ["FinetuneEpoch", "ProbeSnapshot"]
