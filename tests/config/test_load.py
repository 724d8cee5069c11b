from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from energytune.config import (
    DIMENSIONS,
    FinetuneConfig,
    ProbeConfig,
    SearchSpace,
    apply_fixes,
    list_spaces,
    load_space,
    parse_fix,
)
from energytune.config.space import TauRange
from energytune.errors import ConfigError, UnknownNameError

REPOSITORY = Path(__file__).parents[2]
LEAST = "tau: {low: 0, high: 64}\nft_lr: {low: 0.001, high: 0.1}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_space(write(folder, text))
    return str(caught.value)


def test_packaged_spaces_are_found_by_name() -> None:
    assert set(list_spaces()) == {
        *("default", "scenes", "molecules"),
        *("stl10", "cifar", "mnist", "flowers", "domainnet", "voc2012", "molecules-ogb"),
    }
    assert {path.parent.name for path in list_spaces().values()} == {"search_spaces"}


def test_the_default_space_is_the_embedded_protocol() -> None:
    space = load_space("default")
    assert space.name == "default"
    assert (space.tau.low, space.tau.high, space.tau.snap) == (0, 4096, True)
    assert space.head_arch.choices == ("linear", "mlp")
    smoothing = space.label_smoothing
    assert (smoothing.low, smoothing.high, smoothing.step) == (0, 0.3, 0.075)
    assert (space.reinit_depth.low, space.reinit_depth.high) == (0, 2)
    assert space.probe == ProbeConfig(lr=0.03, momentum=0.9, batch_size=32)
    assert space.finetune == FinetuneConfig(epochs=200, momentum=0.9, batch_size=32)
    assert space.baseline(0).ft_lr == 0.01


def test_stl10_has_the_papers_numbers() -> None:
    space = load_space("stl10")
    assert space.tau.high == 200
    assert space.reinit_depth.high == 3
    assert space.probe.batch_size == space.finetune.batch_size == 128
    assert (space.finetune.epochs, space.finetune.momentum) == (200, 0.9)
    assert space.finetune.schedule == "cosine"


@pytest.mark.parametrize("name", list_spaces())
def test_a_space_survives_its_own_yaml(name: str, tmp_path: Path) -> None:
    space = load_space(name)
    path = write(tmp_path, yaml.safe_dump(space.model_dump(mode="json")))
    assert load_space(path) == space


def test_a_file_without_a_name_is_called_as_the_file(tmp_path: Path) -> None:
    assert load_space(write(tmp_path, LEAST)).name == "mine"
    assert load_space(str(write(tmp_path, LEAST + "name: other"))).name == "other"


def test_numbers_with_an_exponent_are_numbers(tmp_path: Path) -> None:
    # YAML 1.1 reads 1e-3 as text
    assert load_space(write(tmp_path, "tau: 8\nft_lr: 1e-3\n")).ft_lr.low == 0.001


def test_an_unknown_name_shows_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"'defualt'\. Did you mean 'default'\?"):
        load_space("defualt")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = """\
tau: {low: -1, high: 64}
label_smothing: 0.1
label_smoothing: {low: 0.3, high: 0.2, setp: 0.1}
head_arch: [liner, mlp]
ft_lr: {low: 0.001, high: 0.1}
probe: {momentum: 1.5, epochs: 3}
"""
    path, *lines = problems_of(tmp_path, text).splitlines()
    assert path == f"{tmp_path / 'mine.yaml'}: 7 problems:"
    assert set(lines) == {
        "  tau.low = -1: must be >= 0",
        "  label_smothing: unknown key; did you mean 'label_smoothing'?",
        "  label_smoothing: low must not exceed high, got low = 0.3 > high = 0.2",
        "  label_smoothing.setp: unknown key; did you mean 'step'?",
        "  head_arch[0] = 'liner': must be 'linear', 'mlp' or 'aspp'; did you mean 'linear'?",
        "  probe.momentum = 1.5: must be < 1",
        "  probe.epochs: unknown key; did you mean 'schedule_epochs'?",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tau: -1", "tau = -1: must be >= 0"),
        ("tau: 1.5", "tau = 1.5: must be a whole number"),
        ("tau: many", "tau = 'many': must be a whole number"),
        ("tau: {low: 9, high: 3}", "tau: low must not exceed high, got low = 9 > high = 3"),
        ("tau: {low: 9}", "tau.high: is missing and has no default"),
        ("tau: yes", "tau = True: must not be a boolean"),
        ("tau: {low: no, high: 3}", "tau.low = False: must not be a boolean"),
        ("tau: 8\nsnap: 1", "snap: unknown key"),
        ("tau: {low: 0, high: 3, snap: perhaps}", "tau.snap = 'perhaps': must be true or false"),
        ("tau: 8\nlabel_smoothing: 1", "label_smoothing = 1: must be < 1"),
        ("tau: 8\nlabel_smoothing: .nan", "label_smoothing = nan: must be < 1"),
        ("tau: 8\nhead_arch: conv", "head_arch = 'conv': must be 'linear', 'mlp' or 'aspp'"),
        ("tau: 8\nhead_arch: []", "head_arch = []: must not be empty"),
        ("tau: 8\nhead_arch: [mlp, mlp]", "choices must differ"),
        ("tau: 8\nfinetune: 3", "finetune = 3: must be a mapping"),
        ("tau: 8\nfinetune: {epochs: 0}", "finetune.epochs = 0: must be >= 1"),
        ("tau: 8\nfinetune: {schedule: cosin}", "did you mean 'cosine'?"),
        ("tau: 8\nprobe: {lr: .inf}", "probe.lr = inf: must be finite"),
        ("tau: 8\ntau: 9", "tau: given twice, the second time in line 2"),
        ("tau: {low: 1, high: 2, low: 3}", "low: given twice, the second time in line 1"),
    ],
)
def test_each_problem_has_path_value_and_rule(text: str, told: str, tmp_path: Path) -> None:
    assert told in problems_of(tmp_path, f"{text}\nft_lr: 0.01\n")


def test_a_single_problem_takes_a_single_line(tmp_path: Path) -> None:
    told = problems_of(tmp_path, "tau: -1\nft_lr: 0.01\n")
    assert told == f"{tmp_path / 'mine.yaml'}: tau = -1: must be >= 0"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file is empty"),
        ("- tau\n- ft_lr\n", "the file holds a list"),
        ("tau: [1, 2\n", "not valid YAML"),
        (LEAST + "---\n" + LEAST, "not valid YAML"),
        ("tau: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("tau: &a [*a]\nft_lr: 1\n", "tau"),
    ],
)
def test_what_is_no_space_is_refused(text: str, told: str, tmp_path: Path) -> None:
    assert told in problems_of(tmp_path, text)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: .* No such file"):
        load_space(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="directory"):
        load_space(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_space(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("tau=8", "tau", 8),
        (" tau = 8 ", "tau", 8),
        ("head_arch=mlp", "head_arch", "mlp"),
        ("label_smoothing=0.15", "label_smoothing", 0.15),
        ("reinit_depth=1", "reinit_depth", 1),
        ("ft_lr=1e-3", "ft_lr", 0.001),
    ],
)
def test_a_fix_is_read_with_its_type(text: str, name: str, value: Any) -> None:
    read_name, read = parse_fix(text)
    assert (read_name, read) == (name, value)
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tau", "must be NAME=VALUE"),
        ("tau=", "must be NAME=VALUE"),
        ("=8", "is no dimension"),
        ("tua=8", "did you mean 'tau'?"),
        ("probe.lr=1", "is no dimension"),
        ("tau=-1", "must be >= 0"),
        ("tau=1.5", "must be a whole number"),
        ("label_smoothing=1", "must be < 1"),
        ("ft_lr=inf", "must be finite"),
        ("head_arch=liner", "did you mean 'linear'?"),
    ],
)
def test_a_bad_fix_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_fix(text)
    assert told in str(caught.value)
    assert f"--fix {text}" in str(caught.value)


def test_fixes_narrow_a_copy() -> None:
    space = load_space("default")
    fixed = apply_fixes(space, {"tau": 8, "head_arch": "mlp", "ft_lr": 1.0})
    assert fixed.fixed() == {"tau": 8, "head_arch": "mlp", "ft_lr": 1.0}
    assert fixed.taus() == [8]
    assert fixed.label_smoothing == space.label_smoothing
    assert space == load_space("default")
    assert apply_fixes(space, {}) == space


def test_bad_fixes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        apply_fixes(load_space("default"), {"tau": -8, "ft_lr": "fast"})
    assert "tau = -8: must be >= 0" in str(caught.value)
    assert "ft_lr = 'fast': must be a number" in str(caught.value)
    with pytest.raises(ConfigError, match="did you mean 'reinit_depth'"):
        apply_fixes(load_space("default"), {"reinit_dept": 1})


def test_every_field_is_documented_with_unit_and_range() -> None:
    text = (REPOSITORY / "search_spaces" / "README.md").read_text(encoding="utf-8")
    for name in DIMENSIONS:
        assert f"`{name}" in text
    for section, model in (("probe", ProbeConfig), ("finetune", FinetuneConfig)):
        for name in model.model_fields:
            assert f"`{section}.{name}`" in text
    assert "`tau.snap`" in text
    assert set(TauRange.model_fields) == {"low", "high", "snap"}
    documented = {*DIMENSIONS, "probe", "finetune", "name", "description"}
    assert set(SearchSpace.model_fields) == documented


def test_references_and_endless_files_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)]
    assert "references (*name) are not taken" in problems_of(tmp_path, "\n".join(lines))
    assert "at most 1 MiB" in problems_of(tmp_path, "#" * (1 << 20) + "\n")
    assert "not valid YAML" in problems_of(tmp_path, "[" * 20_000)
