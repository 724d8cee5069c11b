"""Paired tests against independent references, on special values and by property."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import jaccard_score, roc_auc_score

from energytune.tasks.evidence import Evidence, evidence_of_correct
from energytune.tasks.scores import mean_roc_auc
from energytune.tracking import paired
from energytune.tracking.paired import Paired, bootstrap, mcnemar, not_paired, paired_test
from energytune.tracking.resamples import differences, resampled_scores


def flags(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """Both right, gained, lost, both wrong -> what each model gets right."""
    new = np.repeat([True, True, False, False], counts)
    old = np.repeat([True, False, True, False], counts)
    return new, old


def areas(n: int = 80, n_labels: int = 3, seed: int = 0, noise: float = 1.5) -> Evidence:
    """Labels are the same for every seed; a tenth is missing; scores have ties."""
    of_labels = np.random.default_rng(7)
    targets = of_labels.integers(0, 2, (n, n_labels)).astype(np.int8)
    targets[of_labels.random((n, n_labels)) < 0.1] = -1
    scores = targets + noise * np.random.default_rng(seed).normal(size=(n, n_labels))
    return Evidence("roc_auc", {"scores": scores.round(1).astype(np.float32), "targets": targets})


def pixels(n: int = 40, n_classes: int = 4, seed: int = 0, share: float = 0.7) -> Evidence:
    rng = np.random.default_rng(seed)
    labelled = np.random.default_rng(7).integers(0, 60, (n, n_classes))
    hits = rng.binomial(labelled, share)
    predicted = hits + rng.integers(0, 20, (n, n_classes))
    return Evidence("miou", {"counts": np.stack([hits, predicted, labelled], axis=1)})


@pytest.mark.parametrize(
    ("gained", "lost"),
    [(0, 0), (1, 0), (5, 0), (6, 0), (12, 3), (3, 12), (9, 9), (9, 10), (400, 330), (2000, 0)],
)
def test_mcnemar_is_the_exact_binomial_test(gained: int, lost: int) -> None:
    found = mcnemar(*flags(5, gained, lost, 5))
    n = gained + lost
    p_value = binomtest(gained, n, 0.5).pvalue if n else 1.0
    assert (found.n_gained, found.n_lost) == (gained, lost)
    assert found.p_value == pytest.approx(p_value, rel=1e-9, abs=1e-300)
    assert found.difference == pytest.approx((gained - lost) / (n + 10))


def test_the_interval_of_two_accuracies_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth, n_hit = 0.1, 0
    for _ in range(1000):
        gained, lost, _ = rng.multinomial(60, [0.2, 0.1, 0.7])
        found = mcnemar(*flags(0, gained, lost, 60 - gained - lost))
        n_hit += found.low <= truth <= found.high
    assert 0.93 <= n_hit / 1000 <= 0.985


def test_so_many_examples_give_the_power() -> None:
    """With n_needed examples drawn from the observed shares, 80 % of the tests see it."""
    found = mcnemar(*flags(60, 12, 6, 22), level=0.025)
    assert found.n_needed is not None
    rng, n = np.random.default_rng(0), found.n_needed
    seen = 0
    for gained, lost, _ in rng.multinomial(n, [0.12, 0.06, 0.82], size=600):
        again = mcnemar(*flags(0, gained, lost, n - gained - lost))
        seen += again.p_value < 0.025 and gained > lost
    assert 0.74 <= seen / 600 <= 0.85  # the exact test is a little weaker than Connor's formula


def test_no_number_of_examples_for_who_is_not_ahead() -> None:
    assert mcnemar(*flags(5, 3, 3, 5)).n_needed is None
    assert bootstrap(areas(seed=1, noise=3.0), areas(seed=2, noise=0.5)).n_needed is None


def test_a_resample_of_labels_is_scored_as_sklearn_and_the_meter_score_it() -> None:
    evidence = areas()
    scores, targets = (np.asarray(evidence.arrays[name]) for name in ("scores", "targets"))
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 80, (20, 80))
    weights = np.stack([np.bincount(row, minlength=80) for row in drawn]).astype(float)
    found = resampled_scores(evidence, weights)
    for row, score in zip(drawn, found, strict=True):
        known = targets[row] >= 0
        each = [roc_auc_score(targets[row][k, j], scores[row][k, j]) for j, k in enumerate(known.T)]
        assert score == pytest.approx(np.mean(each), abs=1e-12)
    assert resampled_scores(evidence, np.ones((1, 80)))[0] == pytest.approx(evidence.score())


def test_a_resample_of_images_is_scored_as_sklearn_scores_it() -> None:
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 3, (6, 30)), rng.integers(0, 3, (6, 30))
    guess[truth == 2] = 2
    counts = np.stack(
        [
            [np.bincount(x, minlength=3) for x in (t[t == g], g, t)]
            for t, g in zip(truth, guess, strict=True)
        ]
    )
    drawn = rng.integers(0, 6, (20, 6))
    weights = np.stack([np.bincount(row, minlength=6) for row in drawn]).astype(float)
    found = resampled_scores(Evidence("miou", {"counts": counts}), weights)
    for row, score in zip(drawn, found, strict=True):
        want = jaccard_score(truth[row].ravel(), guess[row].ravel(), average="macro")
        assert score == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("make", [areas, pixels])
def test_interval_and_error_are_those_of_scipys_bootstrap(make) -> None:
    new, old = make(seed=1), make(seed=2)

    def difference(rows: np.ndarray, axis: int) -> np.ndarray:
        moved = np.moveaxis(rows, axis, -1).astype(int)
        weights = np.stack([np.bincount(r, minlength=new.n_examples) for r in moved]).astype(float)
        return resampled_scores(new, weights) - resampled_scores(old, weights)

    reference = scipy_bootstrap(
        (np.arange(new.n_examples),),
        lambda rows, axis=-1: difference(np.atleast_2d(rows), axis)[() if rows.ndim > 1 else 0],
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    found = bootstrap(new, old)
    error = float(reference.standard_error)
    assert found.standard_error == pytest.approx(error, rel=0.08)
    assert found.low == pytest.approx(reference.confidence_interval.low, abs=0.25 * error)
    assert found.high == pytest.approx(reference.confidence_interval.high, abs=0.25 * error)
    assert found.difference == pytest.approx(new.score() - old.score(), abs=1e-12)
    # two-sided, with 1 added, by hand from the same stream
    seed = int("".join(sorted((new.digest()[:4], old.digest()[:4]))), 16)
    drawn = next(differences(new, old, seed, 2000))
    fewer = min((drawn <= 0).sum(), (drawn >= 0).sum())
    assert found.n_resamples == 2000
    assert found.p_value == min(1.0, 2 * (fewer + 1) / 2001)


def test_a_smaller_level_takes_as_many_resamples_as_it_needs() -> None:
    better, worse = areas(seed=1, noise=0.5), areas(seed=2, noise=3.0)
    few, many = bootstrap(better, worse, 0.025), bootstrap(better, worse, 0.0005)
    assert (few.n_resamples, many.n_resamples) == (2000, 20_000)
    assert few.p_value == 2 / 2001
    assert many.p_value == 2 / 20_001 < 0.0005
    # behind, or clear already: no more than the first
    assert bootstrap(worse, better, 0.0005).n_resamples == 2000
    assert bootstrap(areas(seed=1), areas(seed=4), 0.0005).n_resamples == 2000


def test_where_resamples_would_be_too_many_the_tail_is_normal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paired, "_MAX_VALUES", 1000)
    found = bootstrap(areas(seed=1, noise=1.0), areas(seed=2, noise=3.0), 0.0005)
    assert (found.method, found.n_resamples) == ("paired bootstrap, normal tail", 2000)
    z = found.difference / found.standard_error
    assert found.p_value == pytest.approx(2 * norm.sf(z))
    # a tail that can be told is told by the resamples
    assert bootstrap(areas(seed=1), areas(seed=4), 0.0005).method == "paired bootstrap"


def test_the_bootstraps_number_of_examples_follows_from_its_error() -> None:
    found = bootstrap(areas(seed=1, noise=1.4), areas(seed=3, noise=1.5), 0.025)
    assert found.n_needed is not None
    ratio = (norm.isf(0.0125) + norm.ppf(0.8)) * found.standard_error / found.difference
    assert found.n_needed == math.ceil(80 * ratio**2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["accuracy", "roc_auc", "miou"]))
def test_swapping_the_models_changes_signs_only(seed: int, metric: str) -> None:
    rng = np.random.default_rng(seed)
    if metric == "accuracy":
        new, old = (evidence_of_correct((rng.random(30) < 0.7).tolist()) for _ in range(2))
    elif metric == "roc_auc":
        new, old = (areas(int(rng.integers(5, 5 + 1)), 2, seed=seed + i) for i in range(2))
    else:
        new, old = (pixels(6, seed=seed + i) for i in range(2))
    here, there = paired_test(new, old, 0.05), paired_test(old, new, 0.05)
    assert there.difference == -here.difference
    assert there.p_value == here.p_value
    assert (there.low, there.high) == pytest.approx((-here.high, -here.low), abs=1e-9)
    assert there.standard_error == pytest.approx(here.standard_error)
    assert (there.n_gained, there.n_lost) == (here.n_lost, here.n_gained)
    assert here.low <= here.high
    assert 0 < here.p_value <= 1


@pytest.mark.parametrize(
    "evidence",
    [evidence_of_correct([True, False, True]), areas(), pixels(), areas(1), pixels(1)],
    ids=["accuracy", "roc_auc", "miou", "one sample", "one image"],
)
def test_a_model_does_not_beat_itself(evidence: Evidence) -> None:
    found = paired_test(evidence, evidence, 0.05)
    assert (found.difference, found.p_value, found.n_needed) == (0.0, 1.0, None)
    assert found.low <= 0.0 <= found.high


def test_one_image_and_no_spread() -> None:
    """The only image is in every resample: no spread, and no p-value below 2 / 2001."""
    better = Evidence("miou", {"counts": np.array([[[5, 5], [5, 5], [5, 5]]])})
    worse = Evidence("miou", {"counts": np.array([[[4, 4], [5, 5], [5, 5]]])})
    found = bootstrap(better, worse, 0.05)
    assert found.standard_error == 0.0
    assert found.low == found.high == found.difference > 0
    assert found.n_resamples == 2000


def test_a_label_without_positives_takes_no_part() -> None:
    new, old = areas(seed=1), areas(seed=2)

    def with_dead_label(evidence: Evidence) -> Evidence:
        scores, targets = evidence.arrays["scores"], evidence.arrays["targets"]
        more = {"scores": scores[:, :1], "targets": np.zeros_like(targets[:, :1])}
        return Evidence(
            "roc_auc", {k: np.hstack([evidence.arrays[k], more[k]]) for k in ("scores", "targets")}
        )

    weights = np.ones((1, 80))
    for evidence in (new, old):
        assert resampled_scores(with_dead_label(evidence), weights) == pytest.approx(
            resampled_scores(evidence, weights)
        )
    nothing = Evidence(
        "roc_auc",
        {"scores": np.zeros((4, 2), np.float32), "targets": np.zeros((4, 2), np.int8)},
    )
    assert resampled_scores(nothing, np.ones((3, 4))).tolist() == [0.5] * 3
    assert nothing.score() == float(mean_roc_auc(torch.zeros(4, 2), torch.zeros(4, 2))) == 0.5
    unlabelled = replace(
        nothing, arrays={**nothing.arrays, "targets": np.full((4, 2), -1, np.int8)}
    )
    assert bootstrap(unlabelled, unlabelled).p_value == 1.0


def test_a_resample_that_loses_a_labels_only_positive_scores_the_others() -> None:
    targets = np.array([[1, 1], [0, 1], [0, 0], [0, 0]], np.int8)
    scores = np.array([[0, 3], [1, 2], [2, 1], [3, 0]], np.float32)
    evidence = Evidence("roc_auc", {"scores": scores, "targets": targets})
    found = resampled_scores(evidence, np.array([[1.0, 1, 1, 1], [0, 2, 1, 1], [0, 0, 2, 2]]))
    assert found.tolist() == [0.5, 1.0, 0.5]


def test_a_bootstrap_is_the_same_for_everybody() -> None:
    """Written down once: another NumPy or processor must give the same decision."""
    found = bootstrap(areas(seed=1), areas(seed=2))
    assert found == bootstrap(areas(seed=1), areas(seed=2))
    assert np.random.RandomState(7).randint(100, size=4).tolist() == [47, 68, 25, 67]


def test_why_two_models_cannot_be_paired() -> None:
    assert not_paired(areas(), areas(seed=3)) == ""
    assert not_paired(pixels(), pixels(seed=3)) == ""
    assert "miou against roc_auc" in not_paired(pixels(), areas())
    assert "40 test examples against 41" in not_paired(pixels(), pixels(41))
    assert "shape" in not_paired(areas(80, 2), areas(80, 3))
    arrays = dict(areas().arrays)
    arrays["targets"] = 1 - np.abs(arrays["targets"])
    assert not_paired(areas(), Evidence("roc_auc", arrays)) == "their labels differ"
    counts = np.asarray(pixels().arrays["counts"]).copy()
    counts[:, 2] += 1
    other = Evidence("miou", {"counts": counts})
    assert not_paired(pixels(), other) == "their labelled pixels differ"
    assert (
        not_paired(evidence_of_correct([]), evidence_of_correct([])) == "there is no test example"
    )


def test_a_paired_test_is_json() -> None:
    found = bootstrap(areas(seed=1), areas(seed=2))
    assert Paired(**vars(found)) == found
