"""The console in headless Chromium: every page, while a job runs, is killed, paused and restored.

`DATAFLARE_SCREENSHOTS=folder` keeps pictures of the pages.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright import sync_api as sync

from .running import COUNTED, Service
from .test_api import LETTERS

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SCREENSHOTS = os.environ.get("DATAFLARE_SCREENSHOTS")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium"),
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("console")
    (folder / "hot_auctions.py").write_text(COUNTED)
    (folder / "payments.py").write_text(LETTERS)
    jobs = {
        "hot-auctions": {"target": "hot_auctions.py:sink"},
        "payments": {"target": "payments.py:sinks", "on_error": "dead_letter"},
        "broken": {"target": "nowhere.py:sink"},
    }
    made = Service(folder, jobs, {"streams": {"checkpoint_interval": "1s", "checkpoints_kept": 20}})
    made.start()
    made.runs("hot-auctions")
    made.is_in("payments", "finished")
    yield made
    made.end_everything()


@pytest.fixture(scope="module")
def browser() -> Iterator[sync.Browser]:
    with sync.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: sync.Browser) -> Iterator[sync.Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    found = context.new_page()
    complaints: list[str] = []
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    yield found
    context.close()
    assert [one for one in complaints if "ERR_" not in one and "409" not in one] == []


def opened(page: sync.Page, service: Service, place: str = "") -> None:
    page.goto(f"{service.url}/console/#/{place}")
    sync.expect(page.locator("#live-text")).to_have_text("live", timeout=15_000)


def pictured(page: sync.Page, name: str) -> None:
    if SCREENSHOTS is not None:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def test_all_jobs_are_listed_with_their_states_and_reasons(page: sync.Page, service: Service) -> None:
    opened(page, service)
    rows = page.locator("tbody tr")
    sync.expect(rows).to_have_count(3)
    sync.expect(rows.filter(has_text="hot-auctions")).to_contain_text("running")
    sync.expect(rows.filter(has_text="broken")).to_contain_text("expected a Python file")
    pictured(page, "jobs")


def test_graph_shows_every_step_and_details_of_the_chosen_one(page: sync.Page, service: Service) -> None:
    opened(page, service, "job/hot-auctions")
    steps = service.job("hot-auctions")["operators"]
    nodes = page.locator(".graph .node")
    sync.expect(nodes).to_have_count(len(steps))
    sync.expect(page.locator(".graph .rate").first).to_have_text(re.compile(r"[\d.]+ ?k? /s"))
    nodes.first.focus()
    page.keyboard.press("Enter")
    sync.expect(page.get_by_label("The chosen step")).to_contain_text("source")
    pictured(page, "job")


@pytest.mark.parametrize(
    ("tab", "text"),
    [
        ("checkpoints", "Restore"),
        ("state", "auction"),
        ("metrics", "bids_total"),
        ("log", "job runs"),
        ("plan", "exchange"),
        ("letters", "No dead letters are kept"),
    ],
)
def test_each_tab_shows_what_it_is_for(page: sync.Page, service: Service, tab: str, text: str) -> None:
    opened(page, service, f"job/hot-auctions/{tab}")
    sync.expect(page.locator("main .stack").last).to_contain_text(text, timeout=15_000)
    pictured(page, tab)


def test_dead_letters_have_their_reason(page: sync.Page, service: Service) -> None:
    opened(page, service, "job/payments/letters")
    sync.expect(page.locator("main")).to_contain_text("_error_message", timeout=15_000)
    pictured(page, "dead-letters")


def test_job_is_paused_and_resumed_by_its_buttons(page: sync.Page, service: Service) -> None:
    opened(page, service, "job/hot-auctions")
    page.get_by_role("button", name="Pause").click()
    sync.expect(page.locator("main .badge").first).to_have_text("paused", timeout=30_000)
    page.get_by_role("button", name="Resume").click()
    sync.expect(page.locator("main .badge").first).to_have_text("running", timeout=30_000)


def test_kill_is_seen_and_the_job_comes_back(page: sync.Page, service: Service) -> None:
    before = service.runs("hot-auctions")
    opened(page, service, "job/hot-auctions")
    os.kill(before["pid"], signal.SIGKILL)
    sync.expect(page.locator(".callout")).to_contain_text("SIGKILL", timeout=15_000)
    sync.expect(page.locator("main .badge").first).to_have_text("running", timeout=30_000)


def test_checkpoint_is_restored_after_a_question(page: sync.Page, service: Service) -> None:
    service.runs("hot-auctions")
    service.when("hot-auctions", lambda job: job["checkpoint_epoch"] > 3, "has checkpoints")
    opened(page, service, "job/hot-auctions/checkpoints")
    last = page.get_by_role("button", name=re.compile("Restore checkpoint")).nth(1)
    epoch = int((last.get_attribute("aria-label") or "").split()[-1])
    last.click()
    sync.expect(page.get_by_role("dialog")).to_contain_text("Rows since then are read again")
    page.get_by_role("button", name="Restore", exact=True).click()
    service.when("hot-auctions", lambda job: job.get("restored_epoch") == epoch, "went back")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["", "job/hot-auctions", "job/hot-auctions/state", "job/hot-auctions/log"])
def test_narrow_page_has_no_sideways_scroll(
    browser: sync.Browser, service: Service, place: str, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    opened(page, service, place)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    pictured(page, f"narrow-{scheme}-{place.replace('/', '-') or 'jobs'}")
    context.close()


def test_every_control_has_a_name(page: sync.Page, service: Service) -> None:
    opened(page, service, "job/hot-auctions/state")
    sync.expect(page.locator("#state-table")).to_be_visible(timeout=15_000)
    for control in page.locator(
        "button:visible, a:visible, input:visible, select:visible, [role=button]:visible"
    ).all():
        snapshot = control.aria_snapshot()
        assert re.search(r'"[^"]+"', snapshot) or ":" in snapshot, control.evaluate("one => one.outerHTML")
    page.keyboard.press("Tab")
    sync.expect(page.locator(":focus")).to_be_visible()
