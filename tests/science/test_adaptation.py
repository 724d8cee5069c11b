from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from energytune.errors import DataError
from energytune.science import Adaptation, feature_adaptation
from energytune.science.adaptation import streamed_adaptation


@st.composite
def pairs(draw) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (draw(st.integers(1, 6)), draw(st.integers(1, 5)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_by_hand() -> None:
    before = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    after = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    outcome = feature_adaptation(before, after)
    assert outcome.feature_distance == pytest.approx((4 + math.sqrt(5)) / 2)
    assert outcome.feature_cosine == pytest.approx((0.6 + 0.0) / 2)
    assert outcome.feature_dot == pytest.approx((9 + 0) / 2)
    assert outcome.feature_norm == pytest.approx((3 + 2) / 2)


@given(pairs())
def test_equals_an_independent_reference(pair) -> None:
    before, after = (t.double().numpy() for t in pair)
    outcome = feature_adaptation(*pair)
    dot = np.einsum("nd,nd->n", before, after)
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    reference = {
        "feature_distance": np.linalg.norm(after - before, axis=1).mean(),
        "feature_cosine": (dot / lengths).mean(),
        "feature_dot": dot.mean(),
        "feature_norm": np.linalg.norm(after, axis=1).mean(),
    }
    assert outcome.to_dict() == pytest.approx(reference, abs=1e-9)


@given(pairs())
def test_unmoved_features(pair) -> None:
    features = pair[0]
    outcome = feature_adaptation(features, features)
    assert outcome.feature_distance == 0.0
    assert outcome.feature_cosine == pytest.approx(1.0)
    assert outcome.feature_dot == pytest.approx(float(features.double().pow(2).sum(1).mean()))


@given(pairs())
def test_ranges(pair) -> None:
    outcome = feature_adaptation(*pair)
    assert outcome.feature_distance >= 0
    assert -1 <= outcome.feature_cosine <= 1
    assert abs(outcome.feature_dot) <= float(
        (pair[0].double().norm(dim=1) * pair[1].double().norm(dim=1)).mean()
    ) * (1 + 1e-9)


@pytest.mark.parametrize("zero", ["before", "after", "both"])
def test_a_zero_vector_counts_as_cosine_zero(zero) -> None:
    before = torch.ones(2, 3)
    after = torch.ones(2, 3)
    if zero in ("before", "both"):
        before[0] = 0
    if zero in ("after", "both"):
        after[0] = 0
    assert feature_adaptation(before, after).feature_cosine == pytest.approx(0.5)


def test_further_dimensions_are_flattened() -> None:
    before, after = torch.randn(4, 2, 3, 3), torch.randn(4, 2, 3, 3)
    assert feature_adaptation(before, after) == feature_adaptation(
        before.flatten(1), after.flatten(1)
    )


@given(pairs(), st.integers(1, 7))
def test_batch_by_batch_it_is_the_same(pair, batch_size: int) -> None:
    batches = zip(*(torch.split(features, batch_size) for features in pair), strict=True)
    whole = feature_adaptation(*pair).to_dict()
    assert streamed_adaptation(batches).to_dict() == pytest.approx(whole, abs=1e-12)


def test_a_stream_without_a_sample() -> None:
    with pytest.raises(DataError, match="hold a sample"):
        streamed_adaptation([])


def test_a_pair_that_does_not_fit_in_the_middle_of_a_stream() -> None:
    good = torch.ones(2, 3)
    with pytest.raises(DataError, match="one shape"):
        streamed_adaptation([(good, good), (good, good[:1])])


def test_small_movements_of_long_vectors_are_seen() -> None:
    # in float32 the distance would come out as 0
    before = torch.full((1, 1), 1e8, dtype=torch.float64)
    assert feature_adaptation(before, before + 1e-3).feature_distance == pytest.approx(
        1e-3, rel=1e-4
    )


@pytest.mark.parametrize(("left", "right"), [((2, 3), (2, 4)), ((2, 3), (3, 3)), ((0, 3), (0, 3))])
def test_shapes_that_do_not_fit(left, right) -> None:
    with pytest.raises(DataError, match="one shape"):
        feature_adaptation(torch.zeros(left), torch.zeros(right))


def test_names_are_those_of_the_record() -> None:
    assert list(Adaptation(1.0, 2.0, 3.0, 4.0).to_dict()) == [
        "feature_distance",
        "feature_cosine",
        "feature_dot",
        "feature_norm",
    ]
