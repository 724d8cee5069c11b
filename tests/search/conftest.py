"""A space that is quick, and searches on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from energytune.config import SearchConfig, SearchSpace


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace.model_validate(
        {
            "name": "quick",
            "tau": {"low": 0, "high": 64},
            "head_arch": {"choices": ["linear", "mlp"]},
            "label_smoothing": {"low": 0.0, "high": 0.3, "step": 0.15},
            "reinit_depth": {"low": 0, "high": 1},
            "ft_lr": {"low": 0.003, "high": 0.05, "default": 0.02},
            "finetune": {"epochs": 12, "patience": None},
        }
    )


@pytest.fixture
def make_config(space: SearchSpace, tmp_path: Path) -> Callable[..., SearchConfig]:
    def make(**changes: Any) -> SearchConfig:
        settings: dict[str, Any] = {
            "dataset": "digits",
            "space": space,
            "n_trials": 4,
            "n_confirm_seeds": 2,
            "out": tmp_path / "run",
            "concurrency": 2,
            **changes,
        }
        return SearchConfig.model_validate(settings)

    return make
