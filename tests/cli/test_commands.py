from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from energytune.errors import BudgetError

HEAVY = ("torch", "ray", "mlflow", "optuna", "timm", "torchvision", "sklearn", "pandas", "scipy")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["search", "--help"]])
def test_start_up_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from energytune.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print(sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert done.stdout


def test_version_is_the_packages(run) -> None:
    import energytune

    assert run("--version").stdout == f"energytune {energytune.__version__}\n"


def test_help_names_all_commands(run) -> None:
    shown = run("--help").stdout
    for command in (
        *("search", "probe", "diagnose", "ui", "sync", "cache", "datasets", "backbones"),
        "doctor",
    ):
        assert f"  {command} " in shown


def test_search_runs_and_tells_its_end(run, stub) -> None:
    result = run("search", "--dataset", "digits", "--trials", "6", "--fix", "tau=8")
    assert result.exit_code == 0
    (config,) = stub.configs
    assert (config.dataset, config.n_trials) == ("digits", 6)
    assert config.space.fixed() == {"tau": 8}
    lines = result.stdout.splitlines()
    assert lines[0].startswith("energytune search: digits, 6 trials, seed 0, in energytune-runs/")
    assert "pretraining digits-mlp ..." in lines
    assert sum(line.startswith("[") for line in lines) == 6 + 9
    assert "Winner: t002" in result.stdout
    assert result.stderr == ""


def test_json_is_alone_on_stdout(run, stub) -> None:
    result = run("search", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["winner"]["number"] == 2
    assert "[1/30] t000" in result.stderr
    assert "Winner: t002" in result.stderr


def test_verbose_tells_more(run, stub) -> None:
    assert "t002 started" in run("search", "-v").stdout
    assert "t002 started" not in run("search").stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--dataset", "digts"], "Unknown dataset 'digts'. Did you mean 'digits'"),
        (["--space", "defalt"], "Did you mean 'default'"),
        (["--space", "missing.yaml"], "missing.yaml"),
        (["--trials", "0"], "--trials = 0: must be >= 1"),
        (["--fix", "tauu=8"], "did you mean 'tau'"),
        (["--fix", "tau"], "NAME=VALUE"),
        (["--time-budget", "30"], "no unit after 30"),
        (["--sampler", "tp"], "did you mean 'tpe'"),
        (["--trials", "many"], "Invalid value for '--trials'"),
        (["--finetune-epochs", "0"], "--finetune-epochs must be at least 1"),
        (["--ft-epochs", "0"], "--ft-epochs = 0: must be >= 1"),
        (["--until", "convergd"], "did you mean 'converged'"),
        (["--until", "converged", "--sampler", "tpe"], "'energy'. Got 'tpe'"),
    ],
)
def test_bad_options_are_told_with_code_2(run, stub, arguments: list[str], told: str) -> None:
    result = run("search", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert stub.configs == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "digits, 30 trials, seed 0,"),
        (["--ft-epochs", "2000"], "digits, 30 trials, 2,000 finetuning epochs, seed 0,"),
        (
            ["--until", "converged", "--sampler", "energy"],
            "digits, until converged, at most 200 trials, seed 0,",
        ),
    ],
)
def test_a_search_says_first_what_will_end_it(run, stub, arguments: list[str], told: str) -> None:
    result = run("search", *arguments)
    assert result.stdout.startswith(f"energytune search: {told}")


def test_user_errors_of_a_search_have_no_traceback(run, stub) -> None:
    stub.failure = BudgetError("The time budget of 1 s is shorter than one trial. Give it 30s.")
    result = run("search", "--json")
    assert result.exit_code == 2
    assert "Error: The time budget of 1 s is shorter than one trial. Give it 30s." in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_bug_keeps_its_traceback(run, stub) -> None:
    stub.failure = ZeroDivisionError("bug")
    result = run("search")
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.ENOSPC, "The disk is full: /full/disk"), (errno.EROFS, "The disk is read-only")],
)
def test_a_disk_that_fills_is_told(run, stub, number: int, told: str) -> None:
    stub.failure = OSError(number, "no", "/full/disk")
    result = run("search")
    assert result.exit_code == 2
    assert told in result.stderr
    assert "run the same command again to go on" in result.stderr


def test_another_os_error_is_a_bug(run, stub) -> None:
    stub.failure = OSError(errno.EBADF, "no")
    assert isinstance(run("search").exception, OSError)


def test_ctrl_c_before_a_result_says_how_to_go_on(run, stub) -> None:
    stub.failure = KeyboardInterrupt()
    result = run("search", "--trials", "9", "--out", "my run")
    assert result.exit_code == 130
    assert "Interrupted." in result.stderr
    assert "energytune search --dataset digits --trials 9 --out 'my run'" in result.stderr


def test_ctrl_c_without_out_names_the_folder_that_was_chosen(run, stub) -> None:
    stub.failure = KeyboardInterrupt()
    result = run("search")
    (config,) = stub.configs
    assert f"--out {config.out}" in result.stderr


def test_an_interrupted_result_is_told_and_exits_130(run, stub) -> None:
    stub.changes = {
        "interrupted": True,
        "confirmations": [],
        "registered": None,
        "out": Path("here"),
    }
    result = run("search", "--out", "here")
    assert result.exit_code == 130
    assert "Best so far: t002" in result.stdout
    assert "energytune search --dataset digits --out here" in result.stdout
    assert result.stderr == "Interrupted. What has ended is kept.\n"


def test_no_winner_exits_1(run, stub) -> None:
    stub.changes = {"winner": None, "confirmations": [], "baselines": {}, "registered": None}
    result = run("search")
    assert result.exit_code == 1
    assert "there is no winner" in result.stdout


def test_a_server_that_was_down_exits_0(run, stub) -> None:
    stub.changes = {
        "tracking": SimpleNamespace(uri="http://gone:1", link=None, warning="down", n_unsent=4),
        "registered": None,
    }
    result = run("search")
    assert result.exit_code == 0
    assert "Warning: down" in result.stdout
    assert "energytune sync" in result.stdout


def test_datasets_are_listed_with_their_defaults(run) -> None:
    result = run("datasets", "--data-root", "nothing here")
    assert result.exit_code == 0
    assert "digits-same" in result.stdout
    assert "backbone resnet50.tv_in1k, space stl10" in result.stdout
    assert "on this machine: no, not in nothing here/stl10_binary" in result.stdout


def search_folder(path: Path, store: bool = False) -> Path:
    path.mkdir(parents=True)
    (path / "tracking.jsonl").touch()
    if store:
        (path / "mlflow.db").touch()
    return path


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    import energytune.tracking as tracking

    shown: list[str] = []
    monkeypatch.setattr(tracking, "serve_ui", lambda uri, **_: shown.append(uri), raising=False)
    return shown


def test_ui_takes_the_folder_with_the_store(run, served, tmp_path: Path) -> None:
    home = tmp_path / "energytune-runs"
    shared, own = search_folder(home / "a"), search_folder(tmp_path / "own", store=True)
    (home / "mlflow.db").touch()
    for arguments in ([], [str(home)], [str(shared)], [str(own)]):
        assert run("ui", *arguments).exit_code == 0
    assert served == [f"sqlite:///{f}/mlflow.db" for f in (home, home, home, own)]


def test_ui_goes_where_the_search_was_tracked_unless_told(run, served, tmp_path: Path) -> None:
    folder = search_folder(tmp_path / "one", store=True)
    sent = folder / "tracking.sent"
    for uri, shown in (
        ("http://up:1", "http://up:1"),
        # the folder was moved: the store that was in it moved with it
        (f"sqlite:///{tmp_path}/before/mlflow.db", f"sqlite:///{folder}/mlflow.db"),
    ):
        sent.write_text(json.dumps({"uri": uri, "offset": 0}))
        run("ui", str(folder))
        assert served.pop() == shown
    run("ui", str(tmp_path / "nowhere"), "--tracking-uri", "postgresql://db/mlflow")
    assert served == ["postgresql://db/mlflow"]


def test_ui_names_the_command_for_optunas_own_pages(run, served, monkeypatch, tmp_path) -> None:
    study = search_folder(tmp_path / "a run", store=True) / "study.journal"
    study.touch()
    for is_installed in (True, False):
        monkeypatch.setattr(
            "energytune.cli.stores.find_spec", lambda _, known=is_installed: known or None
        )
        told = run("ui", str(study.parent)).stdout
        assert (f"optuna-dashboard '{study}'" in told) is is_installed


def test_ui_that_is_told_to_end_stops_as_on_ctrl_c(run, monkeypatch, tmp_path: Path) -> None:
    import energytune.tracking as tracking

    before = signal.getsignal(signal.SIGTERM)

    def serve(uri: str, **_: object) -> None:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(tracking, "serve_ui", serve, raising=False)
    search_folder(tmp_path / "one", store=True)
    assert run("ui", str(tmp_path / "one")).exit_code == 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_ui_of_a_search_without_a_store_lets_the_launcher_say_so(run, served, tmp_path) -> None:
    alone = search_folder(tmp_path / "alone")
    run("ui", str(alone))
    assert served == [f"sqlite:///{alone}/mlflow.db"]


@pytest.mark.parametrize("command", ["ui", "sync"])
def test_a_folder_without_a_search_is_told(run, tmp_path: Path, command: str) -> None:
    for folder, told in ((tmp_path, "holds no search"), (tmp_path / "no", "is no folder")):
        result = run(command, str(folder))
        assert result.exit_code == 2
        assert told in result.stderr
        assert "energytune search" in result.stderr


def test_sync_sends_each_search_of_a_folder(run, monkeypatch, tmp_path: Path) -> None:
    import energytune.tracking as tracking

    sent: list[tuple[str, str | None]] = []

    def send(folder: Path, uri: str | None) -> SimpleNamespace:
        sent.append((folder.name, uri))
        return SimpleNamespace(
            uri="http://up:1",
            n_runs=31,
            n_entries=99,
            n_unreadable=1,
            rejected={"u1": "no such thing"},
            model=SimpleNamespace(name="energytune-digits", version=2),
        )

    monkeypatch.setattr(tracking, "sync", send, raising=False)
    for name in ("b", "a"):
        search_folder(tmp_path / "energytune-runs" / name)
    result = run("sync", "--tracking-uri", "http://up:1")
    assert result.exit_code == 0
    assert sent == [("a", "http://up:1"), ("b", "http://up:1")]
    assert "31 runs (99 entries) are in http://up:1" in result.stdout
    assert "1 torn lines" in result.stdout
    assert "u1 was refused: no such thing" in result.stdout
    assert "model energytune-digits version 2" in result.stdout


def test_backbones_by_pattern(run, monkeypatch) -> None:
    import energytune.models as models

    names = {"digits*": ["digits-mlp"], None: ["digits-mlp", "resnet18"], "rsnet18": []}
    monkeypatch.setattr(models, "list_backbones", lambda p=None: names[p], raising=False)
    assert run("backbones", "digits*").stdout == "digits-mlp\n"
    missed = run("backbones", "rsnet18")
    assert missed.exit_code == 2
    assert "Did you mean 'resnet18'" in missed.stderr
