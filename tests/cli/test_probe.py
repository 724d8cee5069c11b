"""``energytune probe`` and ``diagnose`` as commands, on the real digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from energytune.cli.probe_options import ProbeOptions

SMALL = ("--dataset", "digits", "--depth", "0", "--tau-max", "8", "--label-smoothing", "0.1")


def test_probe_prints_a_table_and_writes_the_figure(run, tmp_path: Path) -> None:
    done = run("probe", *SMALL, "--no-track", "--plot", str(tmp_path / "map.png"))
    assert done.exit_code == 0, done.output
    assert "Energy map of digits with digits-mlp (2 heads, 100 training samples" in done.stdout
    assert "linear ls=0.1" in done.stdout
    assert "tau 8" in done.stdout
    assert "MLflow" not in done.stdout
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"
    assert not (tmp_path / "energytune-runs").exists()


def test_probe_json_is_one_document_on_stdout(run) -> None:
    done = run("probe", *SMALL, "--head", "linear", "--seeds", "2", "--no-track", "--json")
    assert done.exit_code == 0, done.output
    plain = json.loads(done.stdout)
    assert [head["seed"] for head in plain["heads"]] == [0, 1]
    assert plain["heads"][0]["snapshots"][-1]["epoch"] == 8
    assert "findings" not in plain
    assert "probing 2 heads" in done.stderr


def test_diagnose_prints_findings_with_commands_that_repeat_the_options(run, tmp_path) -> None:
    done = run("diagnose", *SMALL, "--data-root", str(tmp_path), "--no-track")
    assert done.exit_code == 0, done.output
    for part in ("phenomenon", "hypothesis", "try", "source: ", "confidence"):
        assert part in done.stdout
    assert f"--data-root {tmp_path}" in done.stdout


def test_diagnose_json_has_the_findings(run) -> None:
    done = run("diagnose", *SMALL, "--no-track", "--json")
    assert done.exit_code == 0, done.output
    findings = json.loads(done.stdout)["findings"]
    assert findings
    assert set(findings[0]) == {
        *("rule", "phenomenon", "hypothesis", "advice", "command", "source", "confidence"),
    }


@pytest.mark.integration
def test_a_map_is_logged_to_the_store_that_searches_share(run, tmp_path: Path) -> None:
    done = run("probe", *SMALL, "--head", "linear")
    assert done.exit_code == 0, done.output
    assert "MLflow, while `energytune ui` runs: http://127.0.0.1:5000/#/experiments/" in done.stdout
    assert (tmp_path / "energytune-runs" / "mlflow.db").exists()
    artifacts = {path.name for path in tmp_path.rglob("energy_map.*")}
    assert artifacts == {"energy_map.json", "energy_map.svg"}


def test_a_dead_tracking_server_does_not_lose_the_map(run) -> None:
    done = run("probe", *SMALL, "--tracking-uri", "http://127.0.0.1:9")
    assert done.exit_code == 0, done.output
    assert "The map was not logged to MLflow: The tracking server" in done.stdout
    assert "linear ls=0.1" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--plot", "map.bmp"), "--plot must end in .png, .svg or .pdf, got map.bmp"),
        (("--dataset", "digit"), "Did you mean 'digits'"),
        (("--head", "linaer"), "did you mean 'linear'"),
        (("--depth", "9"), r"must lie in [0, 4]"),
        (("--cache-budget", "lots"), "--cache-budget"),
        (("--device", "tpu"), "device must be auto, cpu or cuda"),
    ],
)
def test_wrong_options_are_told_with_exit_code_2(run, options, message) -> None:
    done = run("probe", "--no-track", *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_options_of_both_commands_are_the_same(run) -> None:
    shown = {name: run(name, "--help").stdout for name in ("probe", "diagnose")}
    options = {name: text[text.index("Options:") :] for name, text in shown.items()}
    assert options["probe"] == options["diagnose"]
    assert shown["probe"] != shown["diagnose"]


def test_repeated_options_are_quoted() -> None:
    options = ProbeOptions(checkpoint=Path("a b.pth"), weights="none")
    assert options.repeated() == "--checkpoint 'a b.pth' --weights none"
    assert ProbeOptions().repeated() == ""
