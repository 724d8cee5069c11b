"""MLflow's pages in a real browser, behind the links that ``energytune ui`` prints.

The browser's profile is fresh: nothing is set but what the links and the store say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.browsers import Browser
from tests.pages import errors_told, text_of, wait_for
from tests.screenshots import keep_screenshot
from tests.tracking.three_searches import MODEL, N_TRIALS, ThreeSearches
from tests.tracking.ui_process import UiProcess

pytestmark = pytest.mark.integration

WIDTH = 1600
ASKS_WHO_IS_LOGGED_IN = r"/ajax-api/2\.0/mlflow/users/current - .* 404 "
"""MLflow 3.17 asks this on every page; only its basic authentication has an answer."""
RESIZED = r"ResizeObserver loop completed with undelivered notifications"
"""A note of the browser on a busy machine: sizes are seen one frame later."""
KNOWN = (ASKS_WHO_IS_LOGGED_IN, RESIZED)

SHOWN = ("objective", "ft/best_valid_acc", "hp/aie", "tau")
DRAWN = """[...document.querySelectorAll('.js-plotly-plot')].map(chart => ({
    axes: [...chart.querySelectorAll('.xtitle, .ytitle, .axis-title')].map(t => t.textContent),
    points: chart.querySelectorAll('.points path').length,
    lines: chart.querySelectorAll('path.js-line').length,
}))"""


@pytest.fixture(scope="module")
def links(three_searches: ThreeSearches, browser: Browser) -> Iterator[dict[str, dict[str, str]]]:
    """Per search (its folder's name), and for the model: address by what it shows."""
    with UiProcess(str(three_searches.home), "--no-browser") as ui:
        ui.read_until("  versions ")
        found: dict[str, dict[str, str]] = {}
        title = ""
        for line in ui.told:
            if line.startswith("  "):
                what, link = line.split()
                found.setdefault(title, {})[what] = link
            elif line:
                title = line.removeprefix("search ").removesuffix(" digits-mlp")
        yield found


def keep(browser: Browser, link: str, name: str, ready: str, *, height: int = 1000) -> None:
    """Keeps a picture, for which MLflow's assistant, open in a fresh profile, is put away."""
    browser.run("localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')")
    browser.open(link, width=WIDTH)
    screen = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    wait_for(browser, ready)
    keep_screenshot(browser, name)


@pytest.mark.parametrize("number", range(3))
def test_the_table_shows_each_search_best_first(
    three_searches: ThreeSearches,
    links: dict[str, dict[str, str]],
    browser: Browser,
    number: int,
) -> None:
    search = three_searches.searches[number]
    link = links[search.folder.name]["table"]
    browser.open(link, width=WIDTH)
    ready = "document.querySelectorAll('.ag-center-cols-container .ag-row').length > 5"
    wait_for(browser, ready)
    rows = browser.run(
        "return [...document.querySelectorAll('.ag-center-cols-container .ag-row')]"
        ".sort((a, b) => a.getAttribute('row-index') - b.getAttribute('row-index'))"
        ".map(row => Object.fromEntries([...row.querySelectorAll('.ag-cell')]"
        ".map(cell => [cell.getAttribute('col-id').split('`')[1], cell.innerText])))"
    )
    assert set(SHOWN) <= set(rows[0])
    n_runs = int(re.search(r"(\d+) matching runs", text_of(browser)).group(1))  # type: ignore[union-attr]
    assert n_runs >= N_TRIALS
    best = max(record.objective or 0.0 for record in search.records)
    assert float(rows[0]["objective"]) == pytest.approx(best, abs=1e-4)
    objectives = [float(row["objective"]) for row in rows if row["objective"] != "-"]
    assert objectives == sorted(objectives, reverse=True)
    trials = [row for row in rows if row["tau"] != "-"]
    assert len(trials) >= 5
    for row in trials:
        assert float(row["tau"]) >= 0
        # of a trial that was interrupted before probing ended there is no energy
        assert row["hp/aie"] == "-" or float(row["hp/aie"]) >= 0
    shown = {row["hp/aie"] for row in trials} | {row["ft/best_valid_acc"] for row in trials}
    assert len(shown - {"-"}) >= 5
    assert errors_told(browser, KNOWN) == []
    if number == 1:
        keep(browser, link, "mlflow-table", ready)


@pytest.mark.parametrize("number", range(3))
def test_the_charts_are_drawn(
    three_searches: ThreeSearches,
    links: dict[str, dict[str, str]],
    browser: Browser,
    number: int,
) -> None:
    search = three_searches.searches[number]
    link = links[search.folder.name]["charts"]
    browser.open(link, width=WIDTH)
    # charts are drawn as they come into sight: the window is made tall
    screen = {"width": WIDTH, "height": 2600, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    ready = f"{DRAWN}.filter(chart => chart.points > 0).length >= 9"
    wait_for(browser, ready)
    charts = {tuple(chart["axes"]): chart for chart in browser.run(f"return {DRAWN}")}
    n_complete = sum(record.objective is not None for record in search.records)
    for axes in (("hp/aie", "objective"), ("hp_log10_tau", "objective")):
        assert charts[axes]["points"] >= n_complete >= 3
    n_probed = sum(record.probe is not None for record in search.records)
    assert charts["hp_log10_tau", "hp/aie"]["points"] >= n_probed
    assert charts["hp/aie", "ft/best_valid_acc"]["points"] >= n_complete
    assert errors_told(browser, KNOWN) == []
    text = text_of(browser)
    assert "FT-valid-acc of complete trials over AIE" in text
    assert "Recipes side by side" in text
    if number == 1:
        wait_for(browser, "document.querySelectorAll('canvas').length > 0")
        first = f"{DRAWN}.filter(chart => chart.points > 0).length >= 6"
        keep(browser, link, "mlflow-charts", first, height=1150)


def test_what_mlflow_itself_asks_for_in_vain_is_one_thing(
    links: dict[str, dict[str, str]], browser: Browser
) -> None:
    browser.open(links[f"model {MODEL}"]["versions"], width=WIDTH)
    wait_for(browser, "document.body.innerText.includes('Version 2')")
    told = errors_told(browser, (RESIZED,))
    # when this fails because MLflow asks no more, take it from KNOWN
    assert told
    assert all(re.search(ASKS_WHO_IS_LOGGED_IN, message) for message in told)


def test_the_compare_page_draws_tau_and_energy_and_lists_the_rest(
    three_searches: ThreeSearches, links: dict[str, dict[str, str]], browser: Browser
) -> None:
    search = three_searches.searches[1]
    link = links[search.folder.name]["compare"]
    browser.open(link, width=WIDTH)
    wait_for(browser, f"{DRAWN}.length > 0")
    plot = browser.run(
        "return document.querySelector('.js-plotly-plot').data[0].dimensions"
        ".map(axis => [axis.label, axis.values.length])"
    )
    n_complete = sum(record.objective is not None for record in search.records)
    assert dict(plot)["hp_log10_tau"] == dict(plot)["hp/aie"] == n_complete
    rows = browser.run(
        "return Object.fromEntries([...document.querySelectorAll('tr, [role=row]')]"
        ".map(row => row.innerText.split(/\\s+/)).map(cells => [cells[0], cells.slice(1)]))"
    )
    text = text_of(browser)
    assert len(rows["tau"]) == n_complete
    for key in SHOWN:
        assert re.search(rf"^{key}\b", text, re.MULTILINE), key
    best = max(record.objective or 0.0 for record in search.records)
    assert f"{best:.3g}" in text
    assert errors_told(browser, KNOWN) == []
    keep(browser, link, "mlflow-compare", f"{DRAWN}.length > 0")


def test_the_registry_shows_score_protocol_decision_and_the_champion(
    three_searches: ThreeSearches, links: dict[str, dict[str, str]], browser: Browser
) -> None:
    model = three_searches.searches[1].model
    assert model is not None
    assert model.is_champion
    link = links[f"model {MODEL}"]["versions"]
    browser.open(link, width=WIDTH)
    ready = "document.body.innerText.includes('Version 2')"
    wait_for(browser, ready)
    text = text_of(browser)
    row = text[text.index("Version 2") : text.index("Version 1")]
    assert "@ champion" in row
    assert "@ champion" not in text[text.index("Version 1") :]
    assert errors_told(browser, KNOWN) == []
    keep(browser, link, "mlflow-registry", ready)

    browser.open(link.replace("?", "/versions/2?"), width=WIDTH)
    wait_for(browser, "document.body.innerText.includes('energytune.score')")
    text = text_of(browser)
    assert "@ champion" in text
    assert model.decision in text
    assert re.search(r"energytune\.protocol\s+digits test", text)
    assert re.search(rf"energytune\.score\s+{model.comparison.score}", text)
    assert errors_told(browser, KNOWN) == []
