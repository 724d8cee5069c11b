from __future__ import annotations

import io
import logging
import re

import pytest
from rich.console import Console

from energytune.cli.board import Board
from energytune.cli.display import make_display
from energytune.cli.lines import LineDisplay
from energytune.cli.live import LiveDisplay
from energytune.training import FinetuneEpoch
from energytune.trial import EpochsDone, Paused, ProbeDone
from tests.report.hand_made import (
    confirmation,
    job,
    of_test,
    small_search,
    snapshot,
    stopped,
    trial,
)

COLUMNS = ("trial", "state", "tau", "head", "AIE", "HP-train-acc", "FT-valid-acc")


def console(terminal: bool, width: int = 80, height: int = 25) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=width,
        height=height,
        color_system=None,
        markup=False,
        highlight=False,
        emoji=False,
        _environ={},
    )


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def play(display: LineDisplay | LiveDisplay) -> None:
    """A search of which t006 still runs and t007 is still probing."""
    for record in small_search():
        display.job_started(record.job)
        display.job_ended(record)
    running = job(6, tau=128)
    display.job_started(running)
    display.job_progress(running, [ProbeDone((snapshot(128),), 0.5, 128)])
    done = tuple(FinetuneEpoch(i, 1.0, 0.5, 1.0, 0.1 * i) for i in (1, 2, 3))
    display.job_progress(running, [EpochsDone(done, 0.1)])
    display.job_started(job(7, tau=2048, head_arch="mlp", label_smoothing=0.3, reinit_depth=2))


def frame(width: int = 80, height: int = 25) -> str:
    """One frame of the live table."""
    screen = console(True, width, height)
    display = LiveDisplay(screen, Board(30, 200, n_confirm=9))
    play(display)
    screen.print(display)
    return text(screen)


@pytest.mark.parametrize("width", [80, 140])
def test_the_live_table_shows_all_columns_unshortened(width: int) -> None:
    shown = frame(width)
    header = next(line for line in shown.splitlines() if "trial" in line)
    assert header.split() == list(COLUMNS)
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width


def test_the_live_table_shows_trials_as_they_stand() -> None:
    lines = frame(140).splitlines()
    row = {line.split()[0]: line.split() for line in lines if line.strip().startswith("t0")}
    assert row["t006"] == [
        "t006", "FT", "3/200", "128", "linear", f"{snapshot(128).aie:.4f}", "99.3", "%", "30.0", "%"
    ]  # fmt: skip
    assert row["t007"] == ["t007", "HP", "\u2500" * 7, "2048", "mlp", "ls=0.3", "k=2"]
    assert row["t002"][:3] == ["t002", "*", "complete"]
    assert "90.0" in row["t002"]
    assert row["t003"][1:4] == ["pruned", "at", "1/200"]
    assert row["t004"][1] == "failed"
    assert row["t005"][1:3] == ["=", "t001"]
    (status,) = [line for line in lines if "best so far" in line]
    assert "5/30 trials" in status
    assert "best so far 90.0 % (t002 mlp tau=8 ls=0.1 lr=0.3)" in status
    assert "ETA" in status


def test_a_stopped_trial_says_so_and_fits_into_80_columns() -> None:
    screen = console(True)
    display = LiveDisplay(screen, Board(30, 200))
    play(display)
    display.job_ended(stopped(8, 163))
    screen.print(display)
    shown = text(screen)
    assert re.search(r"^t008 +stopped at 163/200 +8 +linear .* 70\.0 % *$", shown, re.MULTILINE)
    assert "mlp ls=0.3 k=2" in shown  # a wide head
    assert "…" not in shown


def test_a_stopped_trial_has_its_reason_on_its_line() -> None:
    out = console(False)
    LineDisplay(out, Board(30, 200)).job_ended(stopped(8, 63))
    line = text(out)
    assert line.startswith("[1/30] t008 stopped at 63/200 linear tau=8 lr=0.01 | ")
    assert " | stopped: no better validation since epoch 1, patience 62 epochs | best " in line


def test_a_small_terminal_is_never_overrun() -> None:
    shown = frame(height=12)
    assert len(shown.rstrip().splitlines()) < 12
    assert all(name in shown for name in ("t002", "t006", "t007"))
    assert "and 4 trials that have ended" in shown


def test_the_last_frame_has_every_trial() -> None:
    screen = console(True, height=12)
    with LiveDisplay(screen, Board(30, 200)) as display:
        play(display)
    last = text(screen).rpartition("FT-valid-acc")[2]
    assert all(f"t00{i}" in last for i in range(8))
    assert "ETA" not in last


def test_a_stage_has_a_bar_while_it_is_open() -> None:
    screen = console(True, 100)
    display = LiveDisplay(screen, Board(30, 200))
    with display.stage("pretraining digits-mlp", total=40) as advance:
        advance(10)
        screen.print(display)
    shown = text(screen)
    assert "pretraining digits-mlp" in shown
    assert "10/40" in shown
    screen.print(display)
    assert text(screen) == shown


def test_a_stage_of_unknown_length_is_drawn() -> None:
    screen = console(True, 100)
    display = LiveDisplay(screen, Board(30, 200))
    with display.stage("downloading", total=None) as advance:
        advance(3)
        screen.print(display)
    assert "downloading" in text(screen)


def test_a_stage_ends_when_its_work_fails() -> None:
    screen = console(True, 100)
    display = LiveDisplay(screen, Board(30, 200))
    with pytest.raises(ValueError, match="no"), display.stage("pretraining", total=4):
        raise ValueError("no")
    screen.print(display)
    assert "pretraining" not in text(screen)


def test_a_note_stays_above_the_table() -> None:
    screen = console(True, 60)
    with LiveDisplay(screen, Board(30, 200)) as display:
        display.job_started(job(7, tau=8))
        display.note("features [train] need more than " + 50 * "x")
    shown = text(screen)
    assert "Note: features [train] need more than " in shown
    assert shown.rindex("Note: ") < shown.rindex("t007")


def test_tests_are_told_apart_from_trials() -> None:
    screen, out = console(True, 140, 25), console(False)
    display, plain = LiveDisplay(screen, Board(2, 200)), LineDisplay(out, Board(2, 200))
    run = of_test(confirmation(2, 1001, 88))
    display.job_started(run.job)
    screen.print(display)
    assert "t002 seed 1001 test" in " ".join(text(screen).split())
    assert "0/2 trials testing" in " ".join(text(screen).split())
    plain.job_ended(run)
    plain.job_ended(of_test(confirmation(2, 1002, -1)))
    assert text(out).splitlines() == [
        "[test] t002 seed 1001 complete linear tau=8 lr=0.01",
        "[test] t002 seed 1002 failed linear tau=8 lr=0.01 | NaN loss",
    ]


def test_a_note_is_one_plain_line() -> None:
    out = console(False)
    LineDisplay(out, Board(30, 200)).note("features [train] need " + 90 * "x")
    assert text(out) == "Note: features [train] need " + 90 * "x" + "\n"


def test_plain_lines_one_a_trial() -> None:
    out = console(False)
    with LineDisplay(out, Board(30, 200, n_confirm=9)) as display:
        play(display)
        display.job_ended(confirmation(2, 1001, 88))
    lines = text(out).splitlines()
    assert len(lines) == 7
    assert lines[2].startswith("[3/30] t002 complete mlp tau=8 ls=0.1 lr=0.3 | AIE 0.1111 | ")
    assert "HP-train-acc 90.0 % | FT-valid-acc 90.0 % | best 90.0 % (t002)" in lines[2]
    assert lines[3].startswith("[4/30] t003 pruned at 1/200 linear")
    assert "energy [spent]: same start as t001" in lines[3]  # brackets are no markup
    assert "AIE - | HP-train-acc - | FT-valid-acc - | TrialFailure: loss is nan" in lines[4]
    assert "same run as t001" in lines[5]
    assert lines[6].startswith("[confirm 1/9] t002 seed 1001 complete")
    assert "\x1b" not in text(out)


def test_plain_lines_two_a_stage() -> None:
    out = console(False)
    display = LineDisplay(out, Board(30, 200))
    with display.stage("pretraining digits-mlp", total=40) as advance:
        for _ in range(40):
            advance(1)
    first, second = text(out).splitlines()
    assert first == "pretraining digits-mlp ..."
    assert re.fullmatch(r"pretraining digits-mlp: done in [\d.]+ s", second)


def test_verbose_lines_tell_starts_and_probing() -> None:
    out = console(False)
    play(LineDisplay(out, Board(30, 200), verbose=True))
    assert "t006 started: linear tau=128 lr=0.01" in text(out)
    assert "t006 probed 128 of 128 epochs in 0.5 s: AIE 0.0078, HP-train-acc 99.3 %" in text(out)


def test_live_on_a_terminal_and_lines_elsewhere(make_result) -> None:
    config = make_result().config
    assert isinstance(make_display(console(True), config), LiveDisplay)
    assert isinstance(make_display(console(False), config), LineDisplay)


def test_the_log_is_shown_when_asked_for() -> None:
    from energytune.cli.display import log_to

    out = console(False, 200)
    logger = logging.getLogger("energytune")
    before = (list(logger.handlers), logger.level)
    try:
        log_to(out)
        logging.getLogger("energytune.search").info("features [cached]")
    finally:
        logger.handlers[:], level = before[0], before[1]
        logger.setLevel(level)
    assert "features [cached]" in text(out)


def test_the_display_of_an_unknown_record_does_not_fail() -> None:
    out = console(False)
    LineDisplay(out, Board(1, 1)).job_ended(trial(9, (), state="FAIL", reason="node lost"))
    assert "node lost" in text(out)


def pause(display: LineDisplay | LiveDisplay) -> None:
    """t000 waits after 16 epochs."""
    waits = job(0, tau=8)
    display.job_started(waits)
    display.job_progress(waits, [ProbeDone((snapshot(8),), 0.5, 8)])
    done = tuple(FinetuneEpoch(i, 1.0, 0.5, 1.0, 0.5 + i / 100) for i in range(1, 17))
    display.job_progress(waits, [EpochsDone(done, 0.1), Paused(16)])


def test_a_paused_trial_waits_in_the_table_and_in_the_status() -> None:
    screen = console(True)
    display = LiveDisplay(screen, Board(30, 200))
    pause(display)
    screen.print(display)
    shown = text(screen)
    assert re.search(r"^t000 +waits at 16/200 +8 +linear .* 66\.0 % *$", shown, re.MULTILINE)
    assert "1/30 trials  1 wait" in shown


def test_a_pause_is_a_line() -> None:
    out = console(False)
    pause(LineDisplay(out, Board(30, 200)))
    (line,) = text(out).splitlines()
    assert line.startswith("[1/30] t000 waits at 16/200 linear tau=8 lr=0.01 | AIE ")
    assert line.endswith(" | FT-valid-acc 66.0 %")


def test_rows_that_are_hidden_may_wait() -> None:
    screen = console(True, height=12)
    display = LiveDisplay(screen, Board(30, 200))
    pause(display)
    play_more = [trial(number) for number in range(1, 8)]
    for record in play_more:
        display.job_ended(record)
    screen.print(display)
    assert "and 4 trials that wait or have ended" in text(screen)
