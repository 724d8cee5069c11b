from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from energytune.data.scaffold import scaffold_split
from energytune.errors import DataError

RARE = [f"rare{i}" for i in range(60)]
SCAFFOLDS = st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=100).flatmap(
    lambda frequent: st.permutations(frequent + RARE)
)


@settings(max_examples=40, deadline=None)
@given(SCAFFOLDS)
def test_no_scaffold_is_shared_and_every_molecule_has_a_part(scaffolds: list[str]) -> None:
    parts = scaffold_split(scaffolds, where="x")
    found = [{scaffolds[i] for i in indices.tolist()} for indices in parts.values()]
    assert list(parts) == ["train", "valid", "test"]
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]
    everyone = torch.cat(list(parts.values()))
    assert everyone.sort().values.tolist() == list(range(len(scaffolds)))
    assert 0.5 * len(scaffolds) <= len(parts["train"]) <= 0.8 * len(scaffolds)


@settings(max_examples=40, deadline=None)
@given(SCAFFOLDS, st.randoms())
def test_the_order_of_the_rows_has_no_say(scaffolds: list[str], random: object) -> None:
    order = list(range(len(scaffolds)))
    random.shuffle(order)  # type: ignore[attr-defined]
    before = scaffold_split(scaffolds, where="x")
    after = scaffold_split([scaffolds[i] for i in order], where="x")
    for part, indices in before.items():
        assert {order[i] for i in after[part].tolist()} == set(indices.tolist())


def test_larger_groups_train() -> None:
    scaffolds = ["rare", *["b"] * 3, *["a"] * 5, "odd"]
    parts = scaffold_split(scaffolds, where="x")
    assert parts["train"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert parts["valid"].tolist() == [9]  # "odd" before "rare"
    assert parts["test"].tolist() == [0]


@pytest.mark.parametrize(
    ("scaffolds", "told"),
    [
        (["a"] * 10, "leaves train and valid empty: its 10 molecules have 1 scaffolds"),
        (["a"] * 9 + ["b"], "the most frequent one in 9 of them"),
        ([], "leaves train and valid and test empty: its 0 molecules"),
    ],
)
def test_too_few_scaffolds_are_an_error(scaffolds: list[str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        scaffold_split(scaffolds, where="x.csv")
