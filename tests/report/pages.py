"""Inputs of a page made by hand, and a reader of the page that comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any

from energytune.config import SearchSpace, load_space
from energytune.report.inputs import ReportInput, Reproduction
from energytune.science.guide import Finding
from energytune.science.noise import SeedNoise
from energytune.trial import TrialRecord
from tests.report.hand_made import small_confirmation, small_search, trial
from tests.report.maps import head_rows

VOID = {"meta", "link", "br", "hr", "img", "input"}


HOSTILE = "<script>alert(1)</script>\"'&<img src=http://evil.example/x onerror=alert(1)>"
FIGURES = ("outcome", "map", "tau", "energy", "parallel", "curves", "adaptation")


@dataclass(frozen=True)
class Shares:
    shares: dict[str, float] = field(
        default_factory=lambda: {"tau": 0.6, "ft_lr": 0.3, "head_arch": 0.1}
    )
    intervals: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {"tau": (0.4, 0.8), "ft_lr": (0.1, 0.5), "head_arch": (0.0, 0.3)}
    )
    n_trials: int = 20
    n_stopped: int = 12
    reason: str = ""


@dataclass(frozen=True)
class Place:
    """One recipe of the race."""

    number: int
    mean: float | None
    n_seeds: int
    dropped: str = ""

    @property
    def recipe(self) -> Any:
        return small_search()[self.number].job.recipe


FINDING = Finding(
    rule="spent-energy",
    phenomenon="HP-train-acc converges to 100 %",
    hypothesis="There may not be enough energy",
    advice="Search smaller taus",
    command="energytune search --dataset digits --fix tau=91",
    source="Ren et al. 2023, section 5.1",
    confidence="medium",
)


def whole(**changes: Any) -> ReportInput:
    """Returns what a finished search shows: winner t002 at 90 % on test, tau=0 at 85 %."""
    records: Sequence[TrialRecord] = small_search()
    parts: dict[str, Any] = {
        "dataset": "digits",
        "backbone": "digits-mlp",
        "space": space(),
        "importances": Shares(),
        "n_trials": 5,
        "n_confirm_seeds": 3,
        "records": records,
        "confirmations": small_confirmation(),
        "winner": records[2],
        "baselines": {"tau=0": records[0], "tau=max": records[1]},
        "confirmed": [Place(2, 0.9, 3), Place(0, 0.85, 3, "beaten: 5.0 points behind t002")],
        "seed_noise": SeedNoise(0.012, 3, 8, 5),
        "end_reason": "5 trials",
        "seconds": {"total": 75.0, "start": 5.0, "map": 3.0, "search": 60.0, "confirm": 7.0},
        "n_duplicates": 1,
        "map_rows": [*head_rows(), *head_rows("mlp", smoothing=0.1, depth=1)],
        "map_note": "2 heads were probed before the first trial.",
        "n_classes": 10,
        "findings": [FINDING],
        "reproduction": Reproduction(
            "energytune search --dataset digits --seed 0 --trials 5",
            ("One note on it.",),
            "energytune search --dataset digits --fix tau=8",
        ),
        "facts": [("torch", "2.15"), ("backbone weights, sha256", "ab" * 32)],
        "registered": "energytune-digits version 3 (champion)",
        "link": "http://127.0.0.1:5000/#/experiments/1",
        "made_at": "2026-11-29 06:00 +0000",
    }
    return ReportInput(**{**parts, **changes})


def hostile() -> ReportInput:
    """A search whose every text tries to break out."""
    records = [
        *small_search()[:3],
        trial(3, (0.3,), state="PRUNED", reason=HOSTILE),
        trial(4, (), state="FAIL", reason=f"nan {HOSTILE}"),
    ]
    finding = replace(whole().findings[0], phenomenon=HOSTILE, command=HOSTILE, rule=HOSTILE)
    rows = [{**row, "head_arch": HOSTILE} for row in whole().map_rows]
    return whole(
        dataset=HOSTILE,
        backbone=HOSTILE,
        records=records,
        end_reason=HOSTILE,
        map_rows=rows,
        map_note=HOSTILE,
        findings=[finding],
        reproduction=Reproduction(HOSTILE, (HOSTILE,), HOSTILE, HOSTILE),
        facts=[(HOSTILE, HOSTILE)],
        registered=HOSTILE,
        link="javascript:alert(1)",
        notes=[HOSTILE],
        made_at=HOSTILE,
        importances=Shares({HOSTILE: 1.0}, {}, 20, 0, ""),
        confirmed=[replace(whole().confirmed[0], dropped=HOSTILE)],
    )


def thousands(n: int) -> list[TrialRecord]:
    made = []
    for i in range(n):
        end = 0.5 + 0.4 * ((i * 0.618) % 1)
        changes: dict[str, Any] = {"tau": i % 60, "ft_lr": 0.001 * (1 + i % 37)}
        if i % 3:
            made.append(trial(i, (0.4, end, end - 0.01), **changes))
        else:
            reason = f"paused at epoch {i}: {i} of {n} others better"
            made.append(trial(i, (0.4,), state="PRUNED", reason=reason, **changes))
    return made


def space() -> SearchSpace:
    return load_space("default")


@dataclass
class Element:
    tag: str
    attrs: dict[str, str]
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, tag: str = "", **attrs: str) -> list[Element]:
        """Returns the elements below of a tag and with these attributes, in order."""
        found = []
        for child in self.children:
            wanted = {name.rstrip("_"): value for name, value in attrs.items()}
            fits = all(child.attrs.get(name) == value for name, value in wanted.items())
            if (not tag or child.tag == tag) and fits:
                found.append(child)
            found += child.all(tag, **attrs)
        return found

    def one(self, tag: str = "", **attrs: str) -> Element:
        (found,) = self.all(tag, **attrs)
        return found

    @property
    def content(self) -> str:
        """All text in it, with single spaces."""
        return " ".join((self.text + " " + " ".join(c.content for c in self.children)).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, {n: v or "" for n, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if self._open[-1].tag != tag:
            raise ValueError(f"</{tag}> closes <{self._open[-1].tag}>")
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].text += data


def read(page: str) -> Element:
    """Returns the page as a tree.

    Raises:
        ValueError: An element is not closed, or the wrong one.
    """
    reader = _Reader()
    reader.feed(page)
    reader.close()
    if len(reader._open) != 1:
        raise ValueError(f"<{reader._open[-1].tag}> is not closed")
    return reader.root


def table(page: Element, caption: str) -> list[list[str]]:
    """Returns the cells of the table that a caption begins with, headers first."""
    (found,) = [
        t
        for t in page.all("table")
        if t.all("caption") and t.one("caption").content.startswith(caption)
    ]
    return [
        [cell.content for cell in row.children if cell.tag in ("th", "td")]
        for row in found.all("tr")
    ]
