"""What a user sees and clicks in MLflow's pages, in a browser, after a small sweep.

`pytest tests/test_mlflow_ui.py --pictures docs/images` makes the pictures of docs/mlflow_ui.md.
"""

import re
import shutil
from collections.abc import Callable, Iterator

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from asd_experiments.config import AblationConfig, SweepConfig
from asd_experiments.reporting.ablation import ablation
from asd_experiments.search.sweep import sweep
from tests.search.services import MlflowServer

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on PATH"),
]

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SPACE = """
name: small
objective: {metric: val/patient/auroc, direction: maximize}
fixed: {size: 32, width: 0.125, folds: 2, inner_folds: 2, epochs: 1}
"""
CROSSED = """
sampler: {name: grid}
parameters:
  {fusion: [late_average, feature_concat], backbone: [c3d_gap, r3d_18], clip_length: [8, 16]}
"""
QUICK = """
rows:
  a: {fusion: late_average, backbone: c3d_gap, clip_length: 8}
  b: {fusion: feature_concat, backbone: c3d_gap, clip_length: 16}
  c: {fusion: late_average, backbone: r3d_18, clip_length: 16}
"""
WAIT_MS = 60_000
MAX_COLOURS = 128


class Site:
    """MLflow's pages with a finished sweep and its ablation."""

    def __init__(self, uri: str, sweep_run: str, ablation_run: str) -> None:
        self.uri = uri
        client = MlflowClient()
        self.sweep, self.ablation = client.get_run(sweep_run), client.get_run(ablation_run)
        rule = f"tags.`mlflow.parentRunId` = '{sweep_run}'"
        self.trials = client.search_runs([self.sweep.info.experiment_id], rule)
        self.version = client.get_model_version_by_alias("asd-two-stream", "candidate")

    @property
    def best(self) -> str:
        """Name of the trial whose model is registered."""
        (name,) = (t.info.run_name for t in self.trials if t.info.run_id == self.version.run_id)
        return str(name)


@pytest.fixture(scope="module")
def site(small_store, tmp_path_factory, request) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    database = f"sqlite:///{folder / 'mlflow.db'}"
    is_for_pictures = request.config.getoption("--pictures") is not None
    (folder / "space.yaml").write_text(SPACE + (CROSSED if is_for_pictures else QUICK))
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", database)
        mlflow.set_tracking_uri(database)
        run_id = sweep(SweepConfig(space="space.yaml", store=str(small_store.url), workers=1))
        server = MlflowServer(database, folder)
        try:
            yield Site(server.uri, run_id, ablation(AblationConfig(sweep=run_id)))
        finally:
            server.stop()
            mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture
def runs(site: Site, browser: Browser) -> Iterator[Page]:
    """The list of runs, reached as the tour of docs/mlflow_ui.md says, in a new browser."""
    expect.set_options(timeout=WAIT_MS)
    with browser.new_context(viewport={"width": 1360, "height": 820}) as context:
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.goto(site.uri)
        page.get_by_role("button", name="Model training", exact=True).click()
        page.get_by_role("button", name="Close", exact=True).click()
        page.get_by_role("link", name="asd_experiments", exact=True).click()
        yield page


@pytest.fixture
def picture(request) -> Callable[[Page, str], None]:
    """Keep a picture of what a page shows, if pictures are asked for."""
    folder = request.config.getoption("--pictures")

    def keep(page: Page, name: str) -> None:
        if folder is None:
            return
        page.mouse.move(0, 0)
        page.wait_for_timeout(3000)  # until nothing moves
        file = request.config.invocation_params.dir / folder / f"ui_{name}.png"
        page.screenshot(path=file)
        small = Image.open(file).convert("RGB").quantize(MAX_COLOURS)
        small.save(file, optimize=True)

    return keep


def open_run(runs: Page, name: str) -> None:
    runs.get_by_role("link", name=name, exact=True).click()
    expect(runs.get_by_role("heading", name=name, exact=True)).to_be_visible()


def leads_to(page: Page, link: str) -> Page:
    """The page that a link of a note opens; it can be clicked without unfolding the note."""
    with page.expect_popup() as opened:
        page.get_by_role("link", name=link, exact=True).click()
    return opened.value


def assert_drawn(image: Locator) -> None:
    image.scroll_into_view_if_needed()
    expect(image).to_be_in_viewport()
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 200


def test_the_list_shows_the_sweep_with_its_trials_below(site, runs, picture):
    sweep = site.sweep.info.run_name
    expect(runs.get_by_role("link", name=sweep, exact=True)).to_be_visible()
    trial = runs.get_by_role("link", name=re.compile(r"^trial \d"))
    expect(trial).to_have_count(0)  # MLflow hides children, so that trials do not crowd the list
    row = runs.get_by_role("row").filter(has=runs.get_by_role("link", name=sweep, exact=True))
    row.get_by_role("button").first.click()
    expect(trial).to_have_count(len(site.trials))
    picture(runs, "runs")


def test_a_trial_shows_its_figures(site, runs, picture):
    open_run(runs, site.sweep.info.run_name)
    trial = leads_to(runs, "the best trial")
    expect(trial.get_by_role("heading", name=site.best)).to_be_visible()
    expect(trial.get_by_text("test, pooled")).to_be_visible()
    for link in ("ROC", "confusion matrix"):
        assert_drawn(leads_to(trial, link).get_by_role("main").locator("img").first)
    picture(trial.context.pages[-1], "figure")


def test_figures_are_the_first_charts_of_a_trial(site, runs):
    open_run(runs, site.sweep.info.run_name)
    trial = leads_to(runs, "the best trial")
    trial.get_by_role("tab", name="Model metrics").click()
    expect(trial.get_by_text("figures", exact=True)).to_be_in_viewport()
    for name in ("calibration_clip", "confusion_matrix_by_fold_clip"):
        chart = trial.get_by_test_id("experiment-view-compare-runs-card").filter(has_text=name)
        chart.get_by_role("button").first.click()  # in full: MLflow puts all parameters above it
        assert_drawn(trial.get_by_role("dialog").locator("img").first)
        trial.get_by_role("dialog").get_by_role("button", name="Close").click()


def test_the_note_of_a_sweep_leads_to_parallel_coordinates(site, runs, picture):
    open_run(runs, site.sweep.info.run_name)
    picture(runs, "sweep")
    compare = leads_to(runs, "Compare the trials")
    expect(compare.get_by_text(f"Comparing {len(site.trials)} Runs")).to_be_visible()
    for axis in ("backbone", "clip_length", "fusion", "Objective/val/patient/auroc"):
        expect(compare.locator(".parcoords .axis-title", has_text=axis)).to_be_visible()
    picture(compare, "compare")


def test_the_ablation_is_a_page_among_the_artifacts(site, runs, picture):
    open_run(runs, site.ablation.info.run_name)
    linked = leads_to(runs, "The page with all figures")
    runs.get_by_role("tab", name="Artifacts").click()
    runs.get_by_text("ablation.html").click()
    for page in (runs, linked):
        shown = page.frame_locator("iframe")
        expect(shown.get_by_role("heading", name="Ablation:")).to_be_visible()
        rows = shown.get_by_role("table").first.get_by_role("row")
        expect(rows).to_have_count(1 + len(site.trials))
        for figure in ("AUROC of every row", "F1 of every row"):
            expect(shown.locator("figure").filter(has_text=figure).locator("svg")).to_be_visible()
    picture(linked, "ablation")


def test_the_registered_model_is_reached_from_sweep_and_trial(site, runs, picture):
    open_run(runs, site.sweep.info.run_name)
    version = leads_to(runs, "its model")
    runs = leads_to(runs, "the best trial")
    runs.get_by_role("link", name="asd-two-stream").click()
    for page in (version, runs):
        expect(page.get_by_role("heading", name=f"Version {site.version.version}")).to_be_visible()
        expect(page.get_by_text("candidate")).to_be_visible()
    source = version.get_by_role("link", name=site.best)
    expect(source).to_have_attribute("href", re.compile(site.version.run_id))
    picture(version, "model")
    card = leads_to(version, "Model card").frame_locator("iframe")
    expect(card.get_by_role("heading", name="Model card: asd-two-stream version 1")).to_be_visible()
    expect(card.get_by_role("heading", name="Caveats and recommendations")).to_be_visible()
    expect(card.locator("figure").filter(has_text="Flow of participants")).to_be_visible()
