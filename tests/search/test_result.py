from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from energytune.config import SearchConfig
from energytune.errors import EnergyTuneError
from energytune.report.neighbours import DIRECTIONS, neighbours
from energytune.science.noise import SeedNoise
from energytune.search.result import TuneResult, best_run
from energytune.trial import TrialRecord
from tests.report.hand_made import confirmation, trial

MakeConfig = Callable[..., SearchConfig]
WINNER = trial(0, (0.9,), tau=8)
RECORDS = [WINNER, trial(1, (0.88,), ft_lr=0.005), trial(2, (0.86,), tau=16)]


def result(config: SearchConfig, **changes: Any) -> TuneResult:
    parts: dict[str, Any] = {"confirmations": [], "winner": WINNER, "baselines": {}, **changes}
    return TuneResult(config=config, out=config.out, records=RECORDS, **parts)


def test_the_neighbours_are_those_of_the_winner_in_its_space(make_config: MakeConfig) -> None:
    config, noise = make_config(), SeedNoise(0.01, 3, 9, 6)
    found = result(config, seed_noise=noise).neighbours()
    assert found == neighbours(WINNER, RECORDS, config.space, noise)
    assert tuple(n.direction for n in found) == DIRECTIONS
    assert [n.record for n in found] == [RECORDS[1], None, None, RECORDS[2]]
    assert found[0].deviations == pytest.approx(2.0)


def test_without_a_winner_there_are_no_neighbours(make_config: MakeConfig) -> None:
    with pytest.raises(EnergyTuneError, match=r"No trial is complete.*--out"):
        result(make_config(), winner=None).neighbours()


def test_the_model_to_keep_is_the_winner_s_best_confirmation(make_config: MakeConfig) -> None:
    runs: list[TrialRecord] = [confirmation(0, seed, 90) for seed in (3, 2)]
    made = result(make_config(), confirmations=[confirmation(1, 1, 99), *runs])
    assert made.best_confirmation is best_run(runs) is runs[1]  # of equals the lower seed
    with pytest.raises(EnergyTuneError, match="not confirmed"):
        _ = result(make_config()).best_confirmation
