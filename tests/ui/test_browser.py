"""The pages in a real browser: what scripts add, and that they break nothing."""

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.ui.conftest import make_web
from tests.ui.fakes import LARGE_TRACE, TRACE

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--window-size=1400,1000",
)  # fmt: skip
ROW = ".row[role=row]"
pytestmark = pytest.mark.timeout(300)


def program(name: str) -> str:
    """Where a program is; its absence skips here and fails where everything has to run."""
    found = shutil.which(name)
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{name} is not installed")
    return str(found)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """The pages, served from a thread of their own: the browser's driver blocks this one."""
    ready = threading.Event()
    told: dict[str, Any] = {}

    async def serve() -> None:
        web = make_web()
        await web.start()
        told["url"], told["loop"], told["end"] = f"http://{web.endpoint}", asyncio.get_running_loop(), asyncio.Event()
        ready.set()
        await told["end"].wait()
        await web.shutdown()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60)
    yield told["url"]
    told["loop"].call_soon_threadsafe(told["end"].set)
    thread.join(60)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = program("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    running = Chrome(options=options, service=Service(program("chromedriver")))
    running.set_page_load_timeout(120)
    running.set_script_timeout(120)
    yield running
    running.quit()


@pytest.fixture
def visit(
    browser: Chrome, base_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Chrome]]:
    """Opens a page; afterwards nothing may have been said on the console, and a picture is kept."""
    console(browser)

    def go(path: str) -> Chrome:
        browser.get(base_url + path)
        return browser

    yield go
    browser.save_screenshot(str(tmp_path / f"{request.node.name[:60].replace('/', '_')}.png"))
    assert console(browser) == []


def console(browser: Chrome) -> list[str]:
    """What was said on the console since the last call."""
    entries: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in entries]


def percent(browser: Chrome, selector: str) -> float:
    """The width of a shape of the waterfall."""
    return float((browser.find_element(By.CSS_SELECTOR, selector).get_attribute("width") or "").strip("%"))


def wait(browser: Chrome, condition: Callable[[Chrome], object]) -> None:
    WebDriverWait(browser, 60).until(condition)


def press(browser: Chrome, *keys: str) -> None:
    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def rows(browser: Chrome) -> list[Any]:
    return [row for row in browser.find_elements(By.CSS_SELECTOR, ROW) if row.is_displayed()]


@pytest.mark.parametrize(
    "path",
    ["/", "/requirements", "/requirements?q=script", "/requirements/pay/REQ-1001?lang=zh", f"/traces/{TRACE}"],
)
def test_every_page_loads_without_a_word_on_the_console(visit: Callable[[str], Chrome], path: str) -> None:
    """Neither errors nor refused files, and hostile texts do not run."""
    browser = visit(path)
    assert browser.find_element(By.TAG_NAME, "h1").text
    assert "taken" not in browser.title


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("path", ["/", "/requirements", "/requirements/pay/REQ-1001", f"/traces/{TRACE}"])
def test_pages_fit_narrow_screens(visit: Callable[[str], Chrome], path: str, width: int) -> None:
    """Nothing but wide tables is scrolled sideways, and these by themselves."""
    browser = visit("/")
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        visit(path)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_text_can_be_read_in_the_dark(visit: Callable[[str], Chrome]) -> None:
    """The page follows the reader's scheme, and text keeps a contrast of 4.5 to 1 (WCAG 2.2, 1.4.3) in both."""
    browser = visit("/")
    script = """
      const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
      const light = (c) => { const [r, g, b] = rgb(c).map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
                             return .2126 * r + .7152 * g + .0722 * b; };
      const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } return "rgb(255,255,255)"; };
      return [...document.querySelectorAll("main *")].filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && e.checkVisibility() && !e.closest("svg, .hidden"))
        .map((e) => { const [a, b] = [light(getComputedStyle(e).color), light(ground(e))]; return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.tagName + "." + e.className]; })
        .filter(([ratio]) => ratio < 4.5);
    """
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        for path in ("/requirements", "/requirements/pay/REQ-1001", f"/traces/{TRACE}?span={2:016x}"):
            visit(path)
            assert browser.execute_script(script) == [], (scheme, path)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_stage_opens_to_its_runs_by_key(visit: Callable[[str], Chrome]) -> None:
    """j goes to the first row, right opens it, left closes it again."""
    browser = visit("/requirements/pay/REQ-1001")
    assert len(rows(browser)) == 5
    press(browser, "j", Keys.ARROW_RIGHT)
    assert len(rows(browser)) == 6
    press(browser, Keys.ARROW_LEFT)
    assert len(rows(browser)) == 5


def test_zoom_is_in_the_address_and_comes_back(visit: Callable[[str], Chrome]) -> None:
    """z fits the row, 0 shows everything; an address with a zoom shows the same again."""
    browser = visit("/requirements/pay/REQ-1001")
    bar = f"{ROW}:not([data-parent]) rect:not(.gap)"
    before = percent(browser, bar)
    press(browser, "j", "z")
    wait(browser, lambda driver: "from=" in driver.current_url)
    zoomed = percent(browser, bar)
    assert zoomed > 2 * before
    browser.get(browser.current_url)
    assert abs(percent(browser, bar) - zoomed) < 0.1
    press(browser, "0")
    wait(browser, lambda driver: "from=" not in driver.current_url)
    assert percent(browser, bar) == before


def test_waits_can_be_shown_in_full(visit: Callable[[str], Chrome]) -> None:
    """g shows them in true proportion, and compresses them again."""
    browser = visit("/requirements/pay/REQ-1001")
    assert browser.find_elements(By.CSS_SELECTOR, "rect.gap")
    press(browser, "g")
    wait(
        browser,
        lambda driver: "gaps=off" in driver.current_url and not driver.find_elements(By.CSS_SELECTOR, "rect.gap"),
    )


def test_search_counts_marks_and_opens_what_it_finds(visit: Callable[[str], Chrome]) -> None:
    """A run inside a closed stage is found, and its stage opened for it."""
    browser = visit("/requirements/pay/REQ-1001")
    press(browser, "/", *"unit_test of", Keys.ENTER)
    assert browser.find_element(By.ID, "matches").text == "1"
    (found,) = browser.find_elements(By.CSS_SELECTOR, ".match")
    assert found.is_displayed()
    assert browser.switch_to.active_element == found


def test_details_of_a_span_open_beside_the_tree(visit: Callable[[str], Chrome]) -> None:
    """The page stays, the address names the span, and opening that address shows it without scripts too."""
    browser = visit(f"/traces/{TRACE}")
    first = browser.find_elements(By.CSS_SELECTOR, f"{ROW} .label a")[1]
    first.click()
    wait(browser, lambda driver: driver.find_element(By.ID, "details").is_displayed())
    assert "exit code 1" in browser.find_element(By.ID, "details").text
    assert f"span={2:016x}" in browser.current_url
    press(browser, Keys.ESCAPE)
    assert not browser.find_element(By.ID, "details").is_displayed()
    browser.get(browser.current_url)
    assert browser.find_element(By.ID, "details").is_displayed()


def test_a_filter_and_a_search_lead_to_a_list_of_what_fits(visit: Callable[[str], Chrome]) -> None:
    """Choosing a state and a project narrows the list, and the number says so."""
    browser = visit("/requirements")
    browser.find_element(By.CSS_SELECTOR, "a.filter").click()
    wait(browser, lambda driver: "state=" in driver.current_url)
    assert browser.find_element(By.CSS_SELECTOR, "a.filter.chosen")
    narrowed = int(browser.find_element(By.ID, "total").text)
    assert narrowed < 120
    press(browser, "/", *"1042", Keys.ENTER)
    wait(browser, lambda driver: "q=1042" in driver.current_url)
    assert int(browser.find_element(By.ID, "total").text) <= 1


def test_a_large_trace_can_be_used(visit: Callable[[str], Chrome]) -> None:
    """Five thousand rows: moving to the next one and closing the root still work."""
    browser = visit(f"/traces/{LARGE_TRACE}")
    press(browser, "j", Keys.ARROW_LEFT)
    shown = "return document.querySelectorAll('.row[role=row]:not([hidden])').length"
    wait(browser, lambda driver: driver.execute_script(shown) < 10)
