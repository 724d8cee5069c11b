from __future__ import annotations

import math
import shlex
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energytune.cli.options import SearchOptions
from energytune.config.load import parse_fix
from energytune.errors import ConfigError, DataError
from energytune.science.guide import Finding, GuideContext, HeadCurve, diagnose
from tests.science.guide_maps import CONTEXT, QUIET, curve
from tests.science.test_guide_rules import CASES, FULL

PROBE_OPTIONS = {
    *("dataset", "backbone", "checkpoint", "weights", "data-root", "head", "label-smoothing"),
    *("depth", "lr", "weight-decay", "seeds", "tau-max", "json", "plot", "device"),
}
OPTIONS = "--checkpoint 'my net.pth' --data-root=/data"


def all_findings(context: GuideContext = CONTEXT) -> list[Finding]:
    """What each rule says about the map that fires it."""
    found = []
    for rule, (curves, _, _) in CASES.items():
        found += [f for f in diagnose(curves, context) if f.rule == rule]
    return found


@pytest.mark.parametrize("finding", all_findings(), ids=lambda finding: finding.rule)
def test_commands_are_complete_and_real(finding: Finding) -> None:
    program, command, *words = shlex.split(finding.command)
    assert program == "energytune"
    assert words[:2] == ["--dataset", "digits"]
    options, values = words[::2], words[1::2]
    assert all(option.startswith("--") for option in options)
    assert not any(value.startswith("--") for value in values)
    if command == "probe":
        assert {option.removeprefix("--") for option in options} <= PROBE_OPTIONS
    else:
        assert command == "search"
        fixes = dict(parse_fix(v) for o, v in zip(options, values, strict=True) if o == "--fix")
        given = SearchOptions(
            dataset="digits", fix=tuple(f"{name}={value}" for name, value in fixes.items())
        )
        assert given.to_config("default").space.fixed() == fixes


@pytest.mark.parametrize("finding", all_findings(), ids=lambda finding: finding.rule)
def test_findings_name_source_and_confidence_and_never_rank_by_energy(finding: Finding) -> None:
    assert finding.source.startswith(("Ren et al. 2023, ", "measured: "))
    assert finding.confidence in ("high", "medium", "low")
    text = f"{finding.phenomenon} {finding.hypothesis} {finding.advice}"
    assert not any(word in text.lower() for word in ("best energy", "better aie", "optimal", "win"))
    for sentence in (finding.phenomenon, finding.hypothesis, finding.advice):
        assert sentence.endswith(".")
        assert "  " not in sentence


def test_commands_repeat_backbone_and_options() -> None:
    context = replace(CONTEXT, backbone="resnet18", options=OPTIONS)
    for finding in all_findings(context):
        words = shlex.split(finding.command)
        assert words[4:6] == ["--backbone", "resnet18"]
        assert "--data-root=/data" in words
        # The random backbone that at-chance proposes must not load the weights.
        assert ("my net.pth" in words) is (finding.rule != "at-chance")


def test_findings_come_in_order_of_priority_and_once_a_rule() -> None:
    everything = [one for curves, _, _ in CASES.values() for one in curves]
    rules = [finding.rule for finding in diagnose(everything, CONTEXT)]
    assert rules == [rule for rule in CASES if rule in rules]
    assert rules.index("unstable-probing") < rules.index("sweep-tau") < rules.index("at-floor")


def test_other_heads_are_named_and_the_rest_counted() -> None:
    heads = [curve(**FULL, reinit_depth=k) for k in range(6)]
    (finding,) = (f for f in diagnose(heads[::-1], CONTEXT) if f.rule == "spent-energy")
    assert finding.phenomenon.startswith("linear: ")  # the plainest first
    assert finding.phenomenon.endswith("Likewise: linear k=1, linear k=2, linear k=3 and 2 more.")


def test_most_seeds_must_show_a_phenomenon() -> None:
    seeds = [curve(**FULL, seed=1), curve(**FULL, seed=2), replace(QUIET, seed=3)]
    found = {f.rule: f for f in diagnose(seeds, CONTEXT)}
    assert "linear (2 of 3 seeds, the first is shown)" in found["spent-energy"].phenomenon
    assert "spent-energy" not in {f.rule for f in diagnose(seeds[1:], CONTEXT)}


def test_rates_and_decays_are_named_where_they_vary() -> None:
    heads = [curve(**FULL, lr=0.01), curve(**FULL, lr=0.03, weight_decay=0.001)]
    (finding,) = (f for f in diagnose(heads, CONTEXT) if f.rule == "spent-energy")
    assert finding.phenomenon.startswith("linear lr=0.01 wd=0: ")
    assert "linear lr=0.03 wd=0.001." in finding.phenomenon
    assert "`probe: {lr: 0.01}`" in finding.advice


def test_no_curve_is_an_error() -> None:
    with pytest.raises(DataError, match="at least one head curve, got none"):
        diagnose([], CONTEXT)


@pytest.mark.parametrize("epochs", [(), (1, 2), (0, 2, 2), (0, 4, 2)])
def test_epochs_must_ascend_from_0(epochs: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="must ascend from 0"):
        replace(QUIET, epochs=epochs)


def test_series_must_fit_the_epochs() -> None:
    with pytest.raises(DataError, match="pull_norm of a head curve must have one entry an epoch"):
        replace(QUIET, pull_norm=(1.0,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_classes": 0}, "n_classes of the guide must be at least 1, got 0"),
        ({"tau_max": -1}, "tau_max of the guide must be at least 0, got -1"),
        ({"n_train": 0}, "n_train of the guide must be at least 1, got 0"),
        ({"metric": "f1"}, "one of accuracy, roc_auc, miou, got 'f1'"),
        ({"options": "--checkpoint 'a"}, "must be words of a shell"),
    ],
)
def test_a_wrong_context_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(CONTEXT, **change)


@st.composite
def maps(draw: st.DrawFn) -> list[HeadCurve]:
    curves = []
    for seed in range(draw(st.integers(1, 4))):
        taus = draw(st.lists(st.integers(1, 5000), max_size=6, unique=True))
        epochs = (0, *sorted(taus))
        shares = st.floats(0, 1)
        sizes = st.one_of(st.floats(0, 1e6), st.just(math.nan), st.just(math.inf))

        def series(of: st.SearchStrategy[float], n: int = len(epochs)) -> tuple[float, ...]:
            return tuple(draw(st.lists(of, min_size=n, max_size=n)))

        curves.append(
            HeadCurve(
                draw(st.sampled_from(["linear", "mlp"])),
                draw(st.sampled_from([0.0, 0.1])),
                draw(st.integers(0, 1)),
                0.03,
                seed,
                epochs,
                *(series(shares), series(shares), series(sizes)),
                *(series(st.floats(0, 1.5)), series(sizes), series(sizes)),
                converged_epoch=draw(st.sampled_from([None, epochs[-1]])),
            )
        )
    return curves


@settings(deadline=None, max_examples=60)
@given(maps(), st.randoms(use_true_random=False))
def test_any_map_is_read_and_its_order_does_not_matter(curves, random) -> None:
    findings = diagnose(curves, CONTEXT)
    assert all(shlex.split(finding.command)[0] == "energytune" for finding in findings)
    assert not any("nan" in finding.phenomenon for finding in findings)
    shuffled = list(curves)
    random.shuffle(shuffled)
    assert diagnose(shuffled, CONTEXT) == findings
