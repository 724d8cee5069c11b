from __future__ import annotations

import json

from energytune.report.cost_plan import (
    SearchPlan,
    Span,
    TrialPlan,
    against_truth,
    as_json,
    plan_lines,
)
from energytune.report.costs import Costs

PLAN = SearchPlan(
    n_trials=30,
    is_most=True,
    trials=TrialPlan((16, 64, 200), (30, 9, 5), Span(1000, 1832)),
    n_map_heads=4,
    map_hp_epochs=512,
    hp_epochs=Span(0, 15_000),
    n_confirm_runs=Span(11, 15),
    confirm_ft_epochs=Span(500, 3000),
    train_s=Span(2.344, 18.6),
    disk_bytes=Span(3_000_000, 3_000_000),
    concurrency=2,
    hp_epoch_s=0.0014,
    ft_epoch_s=0.005,
)
COSTS = Costs({}, 5, 2, 25, 0, 1500, 1229, 20_000, 5524, 16.0, 6.5)


def test_a_plan_in_words() -> None:
    first, second, third = plan_lines(PLAN)
    assert first == (
        "plan: at most 30 trials, of which about 30 come to epoch 16, 9 come to epoch 64, "
        "5 come to epoch 200"
    )
    assert second == (
        "plan: 1,000 to 1,832 FT epochs, and 500 to 3,000 to confirm in 11 to 15 runs; up to "
        "15,000 HP epochs, and 4 heads to epoch 512 for the map"
    )
    assert third == (
        "plan: about 2.34 to 18.6 s of training with 2 at once, from 5 ms an FT epoch and 1.4 ms "
        "an HP epoch measured here; 3.0 MB on disk"
    )


def test_a_plan_beside_the_truth() -> None:
    assert against_truth(PLAN, COSTS, train_s=12.34, disk_bytes=4_000_000) == (
        "Planned and spent: FT epochs 1,000 to 1,832, 1,500; to confirm 500 to 3,000, 1,229; "
        "HP epochs up to 15,000, 5,524; training 2.34 to 18.6 s, 12.3 s; disk 3.0 MB, 4.0 MB"
    )


def test_a_plan_as_json() -> None:
    plain = json.loads(json.dumps(as_json(PLAN)))
    assert plain["trials"]["rungs"] == [16, 64, 200]
    assert plain["train_s"] == {"low": 2.344, "high": 18.6}
