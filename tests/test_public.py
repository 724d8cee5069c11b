"""The package's public names are there however they are asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.integration
@pytest.mark.parametrize(
    "code",
    [
        "from energytune import tune; import energytune; same = energytune.tune",
        "from energytune.tune import tune as same; from energytune import tune",
        "import energytune.tune; same = energytune.tune; from energytune import tune",
    ],
)
def test_tune_is_the_function_and_not_its_module(code: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(type(tune).__name__, tune is same)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.stdout.strip(), told.returncode) == ("function True", 0), told.stderr


def test_public_names_are_listed_and_unknown_ones_fail() -> None:
    import energytune

    assert set(energytune.__all__) == {
        "EnergyMap",
        "EnergyPruner",
        "EnergySampler",
        "PretrainResult",
        "TuneResult",
        "__version__",
        "load_champion",
        "pretrain",
        "probe",
        "resume",
        "tune",
    }
    assert set(energytune.__all__) <= set(dir(energytune))
    assert isinstance(energytune.TuneResult, type)
    assert isinstance(energytune.EnergyMap, type)
    assert isinstance(energytune.EnergyPruner, type)
    assert isinstance(energytune.EnergySampler, type)
    assert energytune.probe.__module__ == "energytune.search.probe_map"
    assert energytune.load_champion.__module__ == "energytune.tracking.load"
    with pytest.raises(AttributeError, match="tunes"):
        energytune.tunes  # noqa: B018
