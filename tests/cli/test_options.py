from __future__ import annotations

import inspect
import shlex
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energytune.cli.folders import RUNS_DIR
from energytune.cli.main import app
from energytune.cli.options import SearchOptions, format_value
from energytune.cli.search import search
from energytune.config import Recipe, SearchConfig
from energytune.config.load import parse_fix
from energytune.errors import ConfigError
from energytune.search.folder import DEFAULT_HOME

EVERYTHING = SearchOptions(
    dataset="stl10",
    backbone="resnet18",
    checkpoint=Path("my weights.pth"),
    checkpoint_prefix="teacher.backbone.",
    image_size=64,
    weights="none",
    data_root=Path("data"),
    head="mlp",
    space="default",
    trials=7,
    seed=3,
    time_budget="30m",
    ft_epochs=2000,
    gpu_hours=1.5,
    max_disk="50GB",
    until="trials",
    concurrency=2,
    gpus_per_trial=0.5,
    precision="bf16",
    channels_last=True,
    compile=True,
    cpus_per_trial=2,
    fix=("tau=8", "ft_lr=0.01"),
    baselines=False,
    finetune_epochs=5,
    sampler="energy",
    pruner="none",
    warm_start=True,
    checkpoint_every="2m",
    confirm_seeds=5,
    confirm_recipes=2,
    out=Path("here"),
    tracking_uri="http://127.0.0.1:5000",
    storage="sqlite:///study.db",
    ray_address="127.0.0.2:6379",
    storage_path="s3://bucket/energytune",
    cache_budget="20GB",
)


def read_back(command: str) -> dict[str, object]:
    """Reads a printed command with the command line's own parser."""
    words = shlex.split(command)
    assert words[:2] == ["energytune", "search"]
    import typer

    parser = typer.main.get_command(app).commands["search"]
    return dict(parser.make_context("search", words[2:]).params)


def test_settings_take_every_option() -> None:
    config = EVERYTHING.to_config("stl10")
    assert config.space.fixed() == {"tau": 8, "head_arch": "mlp", "ft_lr": 0.01}
    assert config.baseline_taus == ()
    assert config.space.finetune.epochs == 5
    assert config.time_budget_s == 1800
    plain = config.model_dump(exclude={"space", "baseline_taus"})
    assert plain == {
        "dataset": "stl10",
        "backbone": "resnet18",
        "checkpoint": Path("my weights.pth"),
        "checkpoint_prefix": "teacher.backbone.",
        "image_size": 64,
        "weights": "none",
        "data_root": Path("data"),
        "n_trials": 7,
        "seed": 3,
        "time_budget_s": 1800,
        "ft_epochs_budget": 2000,
        "gpu_hours": 1.5,
        "max_disk": "50GB",
        "until": "trials",
        "concurrency": 2,
        "gpus_per_trial": 0.5,
        "engine": {
            "precision": "bf16",
            "channels_last": True,
            "compile": True,
            "n_processes": 1,
        },
        "cpus_per_trial": 2,
        "sampler": "energy",
        "pruner": "none",
        "warm_start": True,
        "checkpoint_s": 120.0,
        "n_confirm_seeds": 5,
        "n_confirm_recipes": 2,
        "out": Path("here"),
        "tracking_uri": "http://127.0.0.1:5000",
        "storage": "sqlite:///study.db",
        "ray_address": "127.0.0.2:6379",
        "storage_path": "s3://bucket/energytune",
        "narrow_depth": False,
        "loader_workers": None,
        "cache_budget": "20GB",
    }


def test_fixing_tau_keeps_the_spaces_baselines() -> None:
    config = SearchOptions(fix=("tau=8",)).to_config("default")
    assert config.baseline_taus == (0, 4096)


def test_nothing_said_takes_the_settings_defaults() -> None:
    config = SearchOptions().to_config("default")
    expected = SearchConfig(
        dataset="digits",
        space=config.space,
        narrow_depth=True,
        baseline_taus=(0, 4096),
        out=config.out,
    )
    assert config == expected
    assert config.out.parent == RUNS_DIR == DEFAULT_HOME


def test_help_tells_the_settings_defaults() -> None:
    helps = {
        name: parameter.annotation
        for name, parameter in inspect.signature(search, eval_str=True).parameters.items()
    }
    config = SearchOptions().to_config("default")
    for name, field in {
        "trials": "n_trials",
        "seed": "seed",
        "cpus_per_trial": "cpus_per_trial",
        "sampler": "sampler",
        "pruner": "pruner",
        "confirm_seeds": "n_confirm_seeds",
        "confirm_recipes": "n_confirm_recipes",
    }.items():
        text = helps[name].__metadata__[0].help
        default = getattr(config, field)
        assert f"Default: {default}" in text or f"{default} (default)" in text


def test_the_printed_command_is_read_back_as_the_same_options() -> None:
    params = read_back(EVERYTHING.command())
    assert params.pop("as_json") is params.pop("verbose") is params.pop("submit") is False
    assert params.pop("wait") is True
    params["fix"] = tuple(params["fix"])
    for path in ("checkpoint", "data_root", "out"):
        params[path] = Path(params[path])
    assert SearchOptions(**params) == EVERYTHING


def test_every_option_can_be_printed() -> None:
    text = EVERYTHING.command() + " "
    for field in fields(SearchOptions):
        name = field.name.replace("_", "-")
        assert f"--{'no-' if name == 'baselines' else ''}{name} " in text


@given(
    st.builds(
        Recipe,
        tau=st.integers(0, 10**5),
        head_arch=st.sampled_from(["linear", "mlp"]),
        label_smoothing=st.floats(0, 1, exclude_max=True),
        reinit_depth=st.integers(0, 5),
        ft_lr=st.floats(1e-12, 1e3),
    )
)
def test_a_reproduced_recipe_is_the_same_to_the_last_bit(recipe: Recipe) -> None:
    command = EVERYTHING.reproduce(recipe, seed=4).command()
    fixes = [
        b
        for a, b in zip(shlex.split(command), shlex.split(command)[1:], strict=False)
        if a == "--fix"
    ]
    assert Recipe(**dict(parse_fix(text) for text in fixes)) == recipe


def test_a_reproduction_keeps_the_protocol_and_drops_the_rest() -> None:
    again = EVERYTHING.reproduce(Recipe(tau=512, ft_lr=0.1 + 0.2), seed=4)
    assert (again.dataset, again.backbone, again.checkpoint) == (
        "stl10",
        "resnet18",
        Path("my weights.pth"),
    )
    assert (again.seed, again.trials, again.finetune_epochs, again.space) == (4, 1, 5, "default")
    assert (again.confirm_seeds, again.confirm_recipes) == (5, None)
    assert again.to_config("default").baseline_taus == ()
    assert again.head is again.out is again.time_budget is again.storage is None
    assert again.ft_epochs is again.until is None
    assert not again.warm_start
    assert "ft_lr=0.30000000000000004" in again.fix


@pytest.mark.parametrize(("value", "text"), [(0.1, "0.1"), (1e-05, "1e-05"), (8, "8"), ("a", "a")])
def test_values_as_options_take_them(value: object, text: str) -> None:
    assert format_value(value) == text


def test_all_wrong_options_are_told_at_once() -> None:
    wrong = SearchOptions(
        trials=0, concurrency=0, sampler="tp", seed=-1, weights="nne", confirm_recipes=0
    )
    wrong = replace(wrong, precision="bf61")
    with pytest.raises(ConfigError) as error:
        wrong.to_config("default")
    text = str(error.value)
    assert "7 options are wrong" in text
    assert "--confirm-recipes = 0: must be >= 1" in text
    assert "--trials = 0: must be >= 1" in text
    assert "--seed = -1: must be >= 0" in text
    assert "did you mean 'tpe'" in text
    assert "--weights = 'nne'" in text
    assert "--precision = 'bf61'" in text
    assert "did you mean 'bf16'" in text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (SearchOptions(head="mlpp"), "mlpp"),
        (SearchOptions(fix=("tau=8", "tau=9")), "tau is fixed twice, to 8 and to 9"),
        (SearchOptions(head="mlp", fix=("head_arch=linear",)), "head_arch is fixed twice"),
        (SearchOptions(finetune_epochs=0), "--finetune-epochs must be at least 1, got 0"),
        (SearchOptions(time_budget="30"), "no unit"),
        (SearchOptions(fix=("tau=-1",)), "must be >= 0"),
    ],
)
def test_wrong_options(options: SearchOptions, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        options.to_config("default")
    assert told in str(error.value)


def test_more_trials_leave_out_what_had_ended_the_search() -> None:
    search = SearchOptions(ft_epochs=500, until="converged", trials=9, time_budget="1h")
    again, more = search.at(Path("there")), search.at(Path("there"), trials=18)
    assert (again.ft_epochs, again.until, again.trials) == (500, "converged", 9)
    assert (more.ft_epochs, more.until, more.trials) == (None, None, 18)
    assert again.out == more.out == Path("there")


def test_fixing_the_same_twice_is_no_error() -> None:
    config = SearchOptions(head="mlp", fix=("head_arch=mlp",)).to_config("default")
    assert config.space.fixed() == {"head_arch": "mlp"}
