import torch

from energytune.data.holdout import class_ranks, cut_valid, stratified_order


def keys(n: int) -> list[str]:
    return [f"k{index}" for index in range(n)]


def test_cut_is_disjoint_complete_and_per_class():
    targets = torch.arange(100) % 4
    train, valid = cut_valid(targets, keys(100))
    assert sorted([*train.tolist(), *valid.tolist()]) == list(range(100))
    assert torch.bincount(targets[valid]).tolist() == [5] * 4


def test_small_classes_keep_one_and_give_one_if_they_have_two():
    targets = torch.tensor([0, 1, 1, 2, 2, 2])
    train, valid = cut_valid(targets, keys(6))
    assert torch.bincount(targets[valid], minlength=3).tolist() == [0, 1, 1]
    assert torch.bincount(targets[train], minlength=3).tolist() == [1, 1, 2]


def test_large_fraction_still_leaves_training_data():
    _, valid = cut_valid(torch.zeros(3, dtype=torch.int64), keys(3), fraction=0.99)
    assert len(valid) == 2


def test_cut_depends_on_keys_not_on_order():
    targets = torch.arange(60) % 3
    names = keys(60)
    _, valid = cut_valid(targets, names)
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(1)).tolist()
    _, again = cut_valid(targets[shuffled], [names[i] for i in shuffled])
    assert {names[i] for i in valid} == {names[shuffled[i]] for i in again}


def test_added_data_move_few_samples():
    n_old, n_new = 1000, 1100
    _, before = cut_valid(torch.zeros(n_old, dtype=torch.int64), keys(n_old))
    _, after = cut_valid(torch.zeros(n_new, dtype=torch.int64), keys(n_new))
    kept = set(before.tolist()) & set(after.tolist())
    assert len(kept) > 180  # of 200; a fresh random cut would keep about 40


def test_seed_changes_the_cut():
    targets = torch.zeros(100, dtype=torch.int64)
    assert (
        cut_valid(targets, keys(100))[1].tolist()
        != cut_valid(targets, keys(100), seed=1)[1].tolist()
    )


def test_every_stretch_of_a_stratified_order_has_the_overall_proportions():
    targets = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    order = stratified_order(class_ranks(targets, keys(100), seed=0))
    assert sorted(order) == list(range(100))
    for start in range(0, 100, 20):
        counts = torch.bincount(targets[order[start : start + 20]], minlength=3).tolist()
        assert all(abs(c - e) <= 1 for c, e in zip(counts, [12, 6, 2], strict=True)), counts
