from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from energytune.cli.probe_text import print_energy_map, print_findings
from energytune.errors import DataError
from energytune.science.guide import Finding
from tests.report.maps import TAUS, frame, head_rows

FINDING = Finding(
    rule="spent-energy",
    phenomenon="linear: HP-train-acc converges to 100.0 %, reached at tau 32.",
    hypothesis="From tau 32 on there may not be enough energy [to adapt] the features. " * 3,
    advice="Search smaller taus, 1 to 32.",
    command="energytune search --dataset digits " + " ".join(f"--fix n{i}={i}" for i in range(12)),
    source="Ren et al. 2023, section 5.1",
    confidence="medium",
)
LONG = tuple(sorted({round(2 ** (i / 2)) for i in range(20)} | {0}))


def console(width: int) -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        color_system=None,
        markup=False,
        highlight=False,
        emoji=False,
        _environ={},
    )


def printed(out: Console) -> list[str]:
    assert isinstance(out.file, io.StringIO)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


def test_one_row_a_head_with_energy_and_accuracy() -> None:
    out = console(100)
    print_energy_map(out, frame(head_rows(), head_rows("mlp", smoothing=0.1)), title="digits")
    title, header, *rows = printed(out)
    assert title == "Energy map of digits: energy left (AIE) and HP-train-acc"
    assert header.split("  ")[0].strip() == "head"
    assert header.split() == ["head", *(word for tau in TAUS for word in ("tau", str(tau)))]
    assert rows[0].split()[:7] == ["linear", "1.000", "10", "%", "0.500", "55", "%"]
    assert rows[1].startswith(" mlp ls=0.1 ")
    assert len(rows) == 2  # nothing is left out, nothing is said


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_taus_are_chosen_to_fit_and_the_rest_is_told(width: int) -> None:
    out = console(width)
    names = {"smoothing": 0.075, "depth": 2}
    print_energy_map(out, frame(head_rows(taus=LONG), head_rows("mlp", taus=LONG, **names)))
    lines = printed(out)
    assert all(len(line) <= width for line in lines)
    taus = [int(word) for word in lines[1].split() if word.isdigit()]
    assert (taus[0], taus[-1]) == (0, LONG[-1])
    assert taus == sorted(set(taus))
    assert set(taus) <= set(LONG)
    assert f"{len(LONG) - len(taus)} of {len(LONG)} taus; --json has all" in lines[-1]


def test_a_wider_console_shows_more_taus() -> None:
    counts = []
    for width in (80, 100, 160):
        out = console(width)
        print_energy_map(out, frame(head_rows(taus=LONG)))
        counts.append(printed(out)[1].count("tau "))
    assert counts == [5, 6, 11]


def test_what_was_stopped_or_failed_is_told_apart() -> None:
    stopped = head_rows("mlp", taus=TAUS[:5], converged=True)
    failed = head_rows(lr=0.3, taus=TAUS[:5])
    out = console(120)
    print_energy_map(out, frame(head_rows(), failed, stopped))
    lines = printed(out)
    assert lines[3].startswith(" linear lr=0.3 ")
    assert lines[3].endswith(" -")
    assert lines[4].startswith(" mlp lr=0.03 ")
    assert lines[4].endswith(" =")
    assert lines[5] == "=  stopped before: HP-train-acc had converged"


def test_what_is_not_quite_100_never_reads_as_100() -> None:
    almost = head_rows(taus=(0, 8))
    almost[1]["hp_train_acc"] = 0.9996
    full = head_rows("mlp", taus=(0, 8))
    full[1]["hp_train_acc"] = 1.0
    out = console(100)
    print_energy_map(out, frame(almost, full))
    assert [line.split()[-2] for line in printed(out)[2:4]] == [">99", "100"]


def test_seeds_and_left_out_heads_are_told() -> None:
    heads = [head_rows(smoothing=0.01 * i, seed=seed) for i in range(5) for seed in (0, 1)]
    out = console(100)
    print_energy_map(out, frame(*heads), max_heads=3, score="HP-train-mIoU")
    lines = printed(out)
    assert lines[0].endswith("HP-train-mIoU, mean of 2 seeds")
    assert len(lines) == 6
    assert lines[-1] == "Left out: 2 of 5 heads; --json has all, --plot draws all."


def test_a_map_without_rows_is_a_clear_error() -> None:
    with pytest.raises(DataError, match="at least one row"):
        print_energy_map(console(80), frame(head_rows()).iloc[:0])


def test_a_finding_reads_from_phenomenon_to_command() -> None:
    out = console(80)
    print_findings(out, [FINDING, replace(FINDING, rule="at-floor", confidence="high")])
    lines = printed(out)
    assert lines[0] == "1. spent-energy  confidence: medium"
    starts = [line[:13].strip() for line in lines[1:8] if line[:13].strip()]
    assert starts[:3] == ["phenomenon", "-> hypothesis", "-> try"]
    # Copied as one line, however long; all else is folded.
    assert lines.count(f"   {FINDING.command}") == 2
    assert all(len(line) <= 80 for line in lines if FINDING.command not in line)
    assert "[to adapt]" in " ".join(lines)
    assert "   source: Ren et al. 2023, section 5.1" in lines
    assert any(line == "2. at-floor  confidence: high" for line in lines)
    assert "Confidence: high follows" in " ".join(lines)


def test_no_finding_is_said() -> None:
    out = console(80)
    print_findings(out, [])
    assert printed(out) == ["No rule of the user guide speaks about this map."]
