from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from energytune.errors import DataError
from energytune.tasks.evidence import Evidence, evidence_of_correct
from energytune.trial.evidence_file import read_evidence, write_evidence

RNG = np.random.default_rng(0)
KINDS = {
    "accuracy": evidence_of_correct([True, False, True]),
    "roc_auc": Evidence(
        "roc_auc",
        {
            "scores": RNG.normal(size=(5, 2)).astype(np.float32),
            "targets": RNG.integers(-1, 2, (5, 2)).astype(np.int8),
        },
    ),
    "miou": Evidence("miou", {"counts": RNG.integers(0, 9, (4, 3, 6))}),
}


@pytest.mark.parametrize("evidence", KINDS.values(), ids=KINDS)
def test_evidence_survives_its_file(evidence: Evidence, tmp_path: Path) -> None:
    path = write_evidence(tmp_path / "new" / "e.safetensors", evidence)
    assert path.is_absolute()
    found = read_evidence(path)
    assert (found.metric, found.digest()) == (evidence.metric, evidence.digest())


@pytest.mark.parametrize("content", [b"", b"pickle? no", None])
def test_a_missing_or_damaged_file_is_an_error(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="can't be read as a record of test examples"):
        read_evidence(path)
