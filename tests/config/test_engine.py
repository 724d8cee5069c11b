from __future__ import annotations

import pytest
from pydantic import ValidationError

from energytune.config import EngineConfig


def test_the_defaults_say_nothing_and_change_no_cached_content() -> None:
    assert EngineConfig().label() == ""
    assert EngineConfig().cache_parts() == {}


def test_only_the_precision_changes_what_the_frozen_part_gives() -> None:
    same = EngineConfig(channels_last=True, compile=True, n_processes=2)
    assert same.cache_parts() == {}
    assert EngineConfig(precision="bf16").cache_parts() == {"precision": "bf16"}


def test_what_differs_is_told() -> None:
    told = EngineConfig(precision="bf16", channels_last=True, compile=True, n_processes=2).label()
    assert told == "bf16, channels last, compiled, 2 processes a trial"


@pytest.mark.parametrize(("n_gpus", "n_processes"), [(0, 1), (0.25, 1), (1, 1), (2, 2), (8.0, 8)])
def test_a_process_for_each_gpu_of_a_trial(n_gpus: float, n_processes: int) -> None:
    placed = EngineConfig(precision="bf16").on_gpus(n_gpus)
    assert placed == EngineConfig(precision="bf16", n_processes=n_processes)


def test_without_several_gpus_the_processes_are_as_they_were_set() -> None:
    assert EngineConfig(n_processes=3).on_gpus(0).n_processes == 3


@pytest.mark.parametrize("wrong", [{"precision": "fp16"}, {"n_processes": 0}, {"amp": True}])
def test_what_is_no_setting_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EngineConfig.model_validate(wrong)
