from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from energytune.config import FinetuneConfig, load_space
from energytune.errors import ConfigError


@pytest.mark.parametrize(
    ("patience", "epochs", "n_epochs"),
    [
        (None, 200, None),
        (0.1, 200, 20),
        (0.07, 100, 7),  # 0.07 * 100 is above 7 in floats
        (0.29, 100, 29),  # and 0.29 * 100 is below 29
        (0.101, 200, 21),
        (0.001, 3, 1),
        (1e-12, 200, 1),
        (1, 200, 200),
        (1.0, 1, 1),
    ],
)
def test_patience_in_epochs(patience: float | None, epochs: int, n_epochs: int | None) -> None:
    assert FinetuneConfig(epochs=epochs, patience=patience).patience_epochs == n_epochs


@pytest.mark.parametrize(("epochs", "n_epochs"), [(200, 40), (12, 3), (1, 1)])
def test_by_default_it_waits_for_a_fifth_of_the_epochs(epochs: int, n_epochs: int) -> None:
    assert FinetuneConfig(epochs=epochs).patience_epochs == n_epochs


@given(thousandths=st.integers(1, 1000), epochs=st.integers(1, 5000))
def test_patience_is_rounded_up_as_with_exact_numbers(thousandths: int, epochs: int) -> None:
    config = FinetuneConfig(epochs=epochs, patience=thousandths / 1000)
    assert config.patience_epochs == math.ceil(Fraction(thousandths, 1000) * epochs)
    assert 1 <= config.patience_epochs <= epochs


@pytest.mark.parametrize("patience", [0, -0.1, 1.01, 20, math.nan, math.inf, "soon"])
def test_patience_outside_its_range_is_refused(patience: Any) -> None:
    with pytest.raises(ValidationError, match="patience"):
        FinetuneConfig(patience=patience)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("0", "finetune.patience = 0: must be > 0"),
        ("20", "finetune.patience = 20: must be <= 1"),
        ("yes", "finetune.patience = True: must not be a boolean"),
        ("none", "finetune.patience = 'none': must be a number"),
    ],
)
def test_a_bad_patience_in_a_file_is_told(tmp_path: Path, written: str, told: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"tau: 8\nft_lr: 0.01\nfinetune: {{patience: {written}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_space(path)
    assert told in str(caught.value)


@pytest.mark.parametrize(("written", "patience"), [("0.2", 0.2), ("1", 1.0), ("null", None)])
def test_patience_is_read_from_a_file(tmp_path: Path, written: str, patience: float | None) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"tau: 8\nft_lr: 0.01\nfinetune: {{patience: {written}}}\n")
    assert load_space(path).finetune.patience == patience


def test_patience_epochs_is_no_field() -> None:
    assert "patience_epochs" not in FinetuneConfig(patience=0.5).model_dump()
