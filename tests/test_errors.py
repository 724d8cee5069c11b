from __future__ import annotations

import pickle

import pytest

from energytune import errors
from energytune.errors import (
    ConfigError,
    EnergyTuneError,
    OutputError,
    near_names,
    unknown_name,
)

PARENTS = {
    "BudgetError": RuntimeError,
    "CheckpointError": ValueError,
    "ConfigError": ValueError,
    "CutError": ValueError,
    "DataError": ValueError,
    "MissingDataError": FileNotFoundError,
    "OutputError": OSError,
    "ResourceError": RuntimeError,
    "TrackingError": ConnectionError,
    "TrialFailure": ArithmeticError,
    "UnknownNameError": LookupError,
}


def test_every_error_of_the_module_is_listed_here() -> None:
    kinds = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, EnergyTuneError)
    }
    assert kinds == {*PARENTS, "EnergyTuneError"}


@pytest.mark.parametrize("name", PARENTS)
def test_builtin_parent_message_and_way_between_processes(name) -> None:
    kind = getattr(errors, name)
    error = kind("what, rule, value, advice")
    assert isinstance(error, PARENTS[name])
    assert isinstance(error, EnergyTuneError)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) == "what, rule, value, advice"


def test_near_names_ignore_case_and_come_nearest_first() -> None:
    assert near_names("DIGIT", ["stl10", "Digits", "digits-same"])[0] == "Digits"
    assert near_names("zzz", ["digits", "stl10"]) == []
    assert len(near_names("a1", [f"a{i}" for i in range(10)], n_names=2)) == 2


def test_unknown_name_tells_near_names_and_advice() -> None:
    error = unknown_name("dataset", "digts", ["digits", "stl10"], hint="List: energytune datasets")
    assert str(error) == (
        "Unknown dataset 'digts'. Did you mean 'digits'? List: energytune datasets"
    )


def test_unknown_name_lists_a_few_or_counts_many() -> None:
    assert str(unknown_name("head", "zz", ["mlp", "linear"])) == (
        "Unknown head 'zz'. Known: linear, mlp."
    )
    many = [f"network_{i:03d}" for i in range(50)]
    assert str(unknown_name("backbone", "zz", many)) == "Unknown backbone 'zz'. 50 are known."


def test_the_middle_of_an_endless_message_is_left_out() -> None:
    told = str(ConfigError("begin" + "x" * 100_000 + "end"))
    assert told.startswith("begin")
    assert told.endswith("end")
    assert "92,008 letters left out" in told
    assert len(told) < 9_000
    assert str(OutputError("short")) == "short"
    assert OutputError(2, "no such file").errno == 2
