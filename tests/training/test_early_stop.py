from __future__ import annotations

import json
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from energytune.config import FinetuneConfig
from energytune.errors import ConfigError
from energytune.training import FinetuneEpoch
from energytune.training.early_stop import has_stopped, rank, stop_epoch, stop_reason
from energytune.training.finetune import Finetuner

Curve = list[tuple[float, float]]

# few different values, so that ties are common
NUMBERS = st.sampled_from([0.0, 0.25, 0.5, 0.75])
CURVES = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=25)
PATIENCES = st.integers(1, 12)


def naive(curve: Curve, patience: int) -> int | None:
    """Tries each epoch: is the best one so far, found from scratch, too long ago?"""
    for epoch in range(1, len(curve) + 1):
        seen = curve[:epoch]
        top = max(accuracy for accuracy, _ in seen)
        low = min(loss for accuracy, loss in seen if accuracy == top)
        if epoch - (1 + seen.index((top, low))) >= patience:
            return epoch
    return None


@given(curve=CURVES, patience=PATIENCES)
def test_it_stops_where_a_naive_search_does(curve: Curve, patience: int) -> None:
    assert stop_epoch(curve, patience) == naive(curve, patience)


@given(curve=CURVES, patience=PATIENCES)
def test_the_future_has_no_influence(curve: Curve, patience: int) -> None:
    stop = stop_epoch(curve, patience)
    if stop is not None:
        assert stop_epoch(curve[:stop], patience) == stop
        assert stop_epoch(curve[: stop - 1], patience) is None


@given(curve=CURVES, patience=PATIENCES)
def test_more_patience_never_stops_earlier(curve: Curve, patience: int) -> None:
    less, more = (stop_epoch(curve, p) or len(curve) for p in (patience, patience + 1))
    assert less <= more


@given(curve=CURVES)
def test_no_patience_setting_and_a_whole_curve_of_patience_never_stop(curve: Curve) -> None:
    assert stop_epoch(curve, None) is None
    assert stop_epoch(curve, max(1, len(curve))) is None


@pytest.mark.parametrize(
    ("curve", "patience", "stop"),
    [
        ([], 1, None),
        ([(0.5, 1.0)], 1, None),  # a first epoch is always a best
        ([(0.5, 1.0), (0.4, 0.1)], 1, 2),  # a lower loss makes no lower accuracy better
        ([(0.5, 1.0), (0.5, 0.9), (0.5, 0.8)], 1, None),  # a tie with a lower loss is better
        ([(0.5, 1.0), (0.5, 1.0)], 1, 2),  # an equal epoch is none
        ([(0.5, 1.0), (0.5, 1.1), (0.6, 9.0), (0.1, 9.0), (0.1, 9.0)], 2, 5),
        ([(0.1, 1.0), (0.2, 2.0), (0.3, 3.0), (0.4, 4.0)], 1, None),
    ],
)
def test_ties_and_small_patience(curve: Curve, patience: int, stop: int | None) -> None:
    assert stop_epoch(curve, patience) == stop


@pytest.mark.parametrize("patience", [0, -3])
def test_a_patience_below_one_epoch_is_refused(patience: int) -> None:
    with pytest.raises(ConfigError, match=rf"patience_epochs must be at least 1.*Got {patience}\."):
        stop_epoch([(0.5, 1.0)], patience)


def test_it_reads_no_further_than_the_stop() -> None:
    curve = iter([(0.5, 1.0), (0.4, 1.0), (0.9, 0.1)])
    assert stop_epoch(curve, 1) == 2
    assert next(curve) == (0.9, 0.1)


def test_words() -> None:
    assert stop_reason(40, 20) == (
        "stopped: no better validation since epoch 40, patience 20 epochs"
    )
    assert stop_reason(3, 1).endswith("patience 1 epoch")
    assert has_stopped(60, 40, 20)
    assert not has_stopped(59, 40, 20)
    assert not has_stopped(60, 40, None)


# a finetune with a patience

N_EPOCHS = 12
PATIENCE = 0.25  # 3 of 12 epochs


@pytest.fixture
def make_tuner(make_model, train, valid, task):
    def make(patience: float | None = PATIENCE, epochs: int = N_EPOCHS) -> Finetuner:
        config = FinetuneConfig(epochs=epochs, batch_size=8, schedule="constant", patience=patience)
        device = torch.device("cpu")
        return Finetuner(
            make_model(), train, valid, task, config, ft_lr=0.05, seed=0, device=device
        )

    return make


def pairs(records: list[FinetuneEpoch]) -> Curve:
    return [(record.valid_acc, record.valid_loss) for record in records]


def test_a_finetune_ends_where_its_whole_curve_says(make_tuner, same_tensors) -> None:
    whole = make_tuner(None)
    records = list(whole)
    assert (len(records), whole.stop_reason) == (N_EPOCHS, "")
    stop = stop_epoch(pairs(records), 3)
    assert stop is not None
    assert 3 < stop < N_EPOCHS  # or this test tells nothing

    tuner = make_tuner()
    assert list(tuner) == records[:stop]
    best = max(records[:stop], key=lambda r: (*rank(r.valid_acc, r.valid_loss), -r.epoch))
    assert tuner.best == best
    assert tuner.stop_reason == (
        f"stopped: no better validation since epoch {best.epoch}, patience 3 epochs"
    )
    assert list(tuner) == []
    part = make_tuner(None)
    list(islice(part, best.epoch))
    tuner.load_best()
    assert same_tensors(tuner.model.state_dict(), part.model.state_dict())


def test_it_is_known_at_the_last_yield_and_not_before(make_tuner) -> None:
    tuner = make_tuner()
    told = [tuner.stop_reason for _ in tuner]
    assert told[-1]
    assert not any(told[:-1])


def test_a_stop_at_the_last_epoch_is_no_stop(make_tuner) -> None:
    n_epochs = len(list(make_tuner()))
    tuner = make_tuner(3 / n_epochs, epochs=n_epochs)
    assert tuner._config.patience_epochs == 3
    records = list(tuner)
    assert stop_epoch(pairs(records), 3) == n_epochs
    assert tuner.stop_reason == ""


def test_resumed_at_any_yield_it_has_the_same_end(make_tuner) -> None:
    straight = make_tuner()
    expected = list(straight)
    for n_done in range(1, len(expected) + 1):
        begun = make_tuner()
        records = list(islice(begun, n_done))
        resumed = make_tuner()
        resumed.load_state(begun.state())
        assert records + list(resumed) == expected
        assert (resumed.best, resumed.stop_reason) == (straight.best, straight.stop_reason)


def test_a_stopped_state_is_tensors_and_json_values(make_tuner) -> None:
    tuner = make_tuner()
    list(tuner)
    plain = {k: v for k, v in tuner.state().items() if k in ("epoch", "best")}
    again = make_tuner()
    again.load_state(tuner.state() | json.loads(json.dumps(plain)))
    assert again.stop_reason == tuner.stop_reason != ""
