"""The pages in a real Chromium, at a desktop's and a phone's size: seen, clicked, and by keyboard alone.

Each visit fails when it asks anybody but the server, or when anything is told on the console (browser.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from browser import DESKTOP, PHONE, Visit, chromium, visiting
from service_server import Server, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

from slmeval.document import to_json
from slmeval.store import Store

__all__ = ["chromium"]

pytestmark = pytest.mark.slow
sizes = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])

#: a second engine, to be compared with the reference
OTHER = next((name for name, module in (("llamacpp", "llama_cpp"), ("hf", "torch")) if find_spec(module)), "")
RUN = re.compile(r"/runs/([0-9a-f-]+)$")

#: notes each change of how far the run is, however seldom the test has its turn
_WATCH = """() => {
    window.neverLeft = true;
    window.told = new Set();
    const note = () => window.told.add((document.getElementById('progress-count') || {}).textContent || '');
    note();
    new MutationObserver(note).observe(document, {subtree: true, childList: true, characterData: true});
}"""
#: how a run stands on its page, and whether a figure is there
_STANDS = """() => [
    document.querySelector('main').dataset.state,
    [...document.querySelectorAll('table')].some((table) => table.textContent.includes('acc_norm')),
]"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
    with serving(tmp_path_factory.mktemp("service")) as started:
        started.wait_ready()
        yield started


@pytest.fixture(scope="module")
def finished(server: Server) -> dict[str, str]:
    """Runs that have ended, by engine, and their batch."""
    backends = ["reference", *([OTHER] if OTHER else [])]
    told = server.post("/api/runs", {"tasks": ["arc_easy", "gsm8k"], "limit": 12, "backends": backends})
    runs = {run["backend"]: run["id"] for run in told["runs"]}
    assert set(server.wait_for(list(runs.values())).values()) == {"done"}
    return {**runs, "batch": told["batch"]}


def run_on(visit: Visit) -> str:
    """The run whose page this is."""
    visit.page.wait_for_url(RUN)
    found = RUN.search(visit.page.url)
    assert found is not None
    return found[1]


def watch(visit: Visit) -> set[str]:
    """Stay on the page of a run until it is done; how far it was, as the page told one after the other."""
    page = visit.page
    page.evaluate(_WATCH)
    while page.locator("main").get_attribute("data-state") in {"queued", "running"}:
        page.wait_for_timeout(50)
    assert page.evaluate("window.neverLeft === true"), "the page was loaded again"
    return set(page.evaluate("[...window.told]")) - {""}


# ---- by mouse or finger ------------------------------------------------------------------------------


@sizes
def test_submit_watch_open_and_compare(
    chromium: Browser, server: Server, finished: dict[str, str], size: tuple[int, int]
) -> None:
    with visiting(chromium, server.address, size) as visit:
        page = visit.page
        visit.open("/")
        page.get_by_role("link", name="Submit a run").click()
        page.get_by_label("Names or patterns").fill("arc_easy,hellaswag")
        page.get_by_label("reference", exact=False).check()
        # questions that nobody asked before: those of the other size have other examples
        page.get_by_label("Shots").fill("1" if size == DESKTOP else "2")
        page.get_by_label("Limit", exact=False).fill("40")
        visit.check_fits()
        page.get_by_role("button", name="Submit").click()
        run = run_on(visit)
        visit.check_fits()
        assert len(watch(visit)) > 1, "nothing moved"
        assert server.state(run) == "done"
        visit.check_fits()
        rows = page.locator("tbody tr")
        rows.filter(has_text="acc_norm").first.wait_for()
        assert page.get_by_text("sample", exact=True).count() > 0
        assert page.get_by_text("Demonstration").count() > 0

        page.get_by_role("link", name=re.compile("arc_easy|[Ii]tems")).first.click()
        page.get_by_role("heading", level=1, name=re.compile("arc_easy.*items")).wait_for()
        assert page.locator("article.item").count() >= 10
        assert page.locator("article.item .right").count() >= 10
        visit.check_fits()

        visit.open(f"/runs/{run}")
        page.locator("main").get_by_role("link", name="Compare").click()
        page.get_by_label("Second", exact=False).fill(finished["reference"])
        page.get_by_role("button", name="Compare").click()
        # one example before each question is not none
        page.get_by_text("not comparable").wait_for()
        visit.check_fits()


@sizes
@pytest.mark.skipif(not OTHER, reason="there is no second engine")
def test_a_batch_is_compared(
    chromium: Browser, server: Server, finished: dict[str, str], size: tuple[int, int]
) -> None:
    with visiting(chromium, server.address, size) as visit:
        page = visit.page
        visit.open(f"/batches/{finished['batch']}")
        side = page.get_by_role("table", name=re.compile("side by side"))
        assert side.get_by_text(OTHER).count() == 1
        assert side.get_by_text("reference").count() == 1
        page.get_by_role("link", name=re.compile("^Compare .* with the first")).click()
        page.get_by_role("table", name=re.compile("Each figure on both sides")).wait_for()
        assert page.locator("tbody tr").filter(has_text="acc_norm").count() > 0
        visit.check_fits()


def test_a_finished_cell_comes_while_the_run_goes_on(chromium: Browser, server: Server) -> None:
    """Tasks come first, and what is timed after them."""
    (run,) = server.submit(tasks=["piqa", "decode"], limit=4, backends=["reference"], shots=[2])
    with visiting(chromium, server.address) as visit:
        visit.open(f"/runs/{run}")
        # both at one moment: the run goes on while the test looks
        state, is_there = visit.page.evaluate(_STANDS)
        while not is_there and state in {"queued", "running"}:
            visit.page.wait_for_timeout(50)
            state, is_there = visit.page.evaluate(_STANDS)
        assert visit.page.get_by_role("table").filter(has_text="acc_norm").count() > 0
        watch(visit)
    assert state == "running"
    assert server.state(run) == "done"


def test_a_run_is_cancelled(chromium: Browser, server: Server) -> None:
    (run,) = server.submit(tasks=["arc", "hellaswag", "gsm8k"], backends=["reference"], shots=[3])
    with visiting(chromium, server.address, PHONE) as visit:
        visit.open(f"/runs/{run}")
        visit.page.get_by_role("button", name="Cancel this run").click()
        visit.page.locator(".badge").get_by_text("cancelled").wait_for(timeout=60_000)
    assert server.state(run) == "cancelled"


def test_a_mistake_is_told_beside_what_was_typed(chromium: Browser, server: Server) -> None:
    with visiting(chromium, server.address, PHONE) as visit:
        page = visit.page
        # Chromium tells of the status with which the form is sent back
        visit.expected = "422"
        visit.open("/submit")
        page.get_by_label("Names or patterns").fill("arc_esay")
        page.get_by_role("button", name="Submit").click()
        assert "arc_easy" in page.get_by_role("alert").inner_text()
        assert page.get_by_label("Names or patterns").input_value() == "arc_esay"
        visit.check_fits()


def test_a_refused_form_has_the_focus_where_it_says_why(chromium: Browser, server: Server) -> None:
    """A reader that reads aloud begins there; each sentence leads to its field, without a script."""
    with visiting(chromium, server.address, java_script_enabled=False) as visit:
        page = visit.page
        visit.expected = "422"
        visit.open("/submit")
        page.get_by_label("Names or patterns").fill("arc_esay")
        page.get_by_role("button", name="Submit").click()
        alert = page.get_by_role("alert")
        assert "Not submitted" in page.title()
        assert alert.evaluate("element => element === document.activeElement")
        visit.press(alert.get_by_role("link", name="Tasks"))
        field = page.get_by_label("Names or patterns")
        assert field.evaluate("element => element === document.querySelector(':target')")
        assert (
            "arc_easy" in page.locator(f"#{field.get_attribute('aria-describedby').split()[-1]}").inner_text()
        )


def test_a_page_goes_on_after_its_stream_was_refused(chromium: Browser, server: Server) -> None:
    """As by a proxy while the server starts again: browsers ask again after a cut line alone."""
    with visiting(chromium, server.address) as visit:
        visit.expected = "503"
        refused: list[str] = []

        def refuse_once(route: Route) -> None:
            refused.append(route.request.url)
            route.fulfill(status=503) if len(refused) == 1 else route.continue_()

        visit.page.route("**/api/events?*", refuse_once)
        visit.open("/devices")
        visit.page.locator("#line").get_by_text("live", exact=True).wait_for(timeout=60_000)
        assert len(refused) == 2


def test_who_comes_back_sees_what_is_now(chromium: Browser, server: Server) -> None:
    """A page that the browser kept has lost its stream."""
    with visiting(chromium, server.address) as visit:
        visit.open("/")
        visit.page.evaluate("window.kept = true")
        with visit.page.expect_navigation(timeout=60_000):
            visit.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
        assert visit.page.evaluate("window.kept === undefined")


def test_numbers_are_in_sight_on_a_phone(chromium: Browser, server: Server, finished: dict[str, str]) -> None:
    """Beside what they are of, also once the table has been moved aside."""
    second = finished.get(OTHER, finished["reference"])
    with visiting(chromium, server.address, PHONE) as visit:
        for path, table in (
            (f"/batches/{finished['batch']}", "side by side"),
            (f"/compare?first={finished['reference']}&second={second}", "Each figure on both sides"),
            (f"/runs/{finished['reference']}", "Figures of arc_easy"),
        ):
            visit.open(path)
            shown = visit.page.get_by_role("table", name=re.compile(table)).first
            row = shown.locator("tbody tr").first
            number = row.locator("td.num").first.bounding_box()
            assert number is not None
            assert number["x"] + number["width"] <= PHONE[0], path
            box = shown.locator("xpath=..")
            box.evaluate("element => { element.scrollLeft = 10000; }")
            head = row.locator("th").bounding_box()
            edge = box.bounding_box()
            assert head is not None
            assert edge is not None
            assert abs(head["x"] - edge["x"]) < 3, path


# ---- by keyboard -------------------------------------------------------------------------------------


@sizes
def test_the_keyboard_is_enough(
    chromium: Browser, server: Server, finished: dict[str, str], size: tuple[int, int]
) -> None:
    """Tab, Enter, Space and letters: a run is submitted, watched, opened, read item by item, and compared."""
    with visiting(chromium, server.address, size) as visit:
        page, keyboard = visit.page, visit.page.keyboard
        visit.open("/")
        keyboard.press("Tab")
        assert visit.focus()["text"] == "Skip to the content"
        visit.check_focus_is_seen()
        keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        visit.press(page.get_by_role("link", name="Submit a run"))
        page.wait_for_url("**/submit")
        visit.tab_to(page.get_by_label("Names or patterns"))
        keyboard.type("arc_easy")
        visit.press(page.get_by_label("reference", exact=False), "Space")
        visit.tab_to(page.get_by_label("Shots"))
        keyboard.type("1")
        visit.press(page.get_by_role("button", name="Submit"))
        run = run_on(visit)
        watch(visit)
        assert server.state(run) == "done"
        visit.press(page.get_by_role("link", name=re.compile("arc_easy|[Ii]tems")).first)
        page.get_by_role("heading", level=1, name=re.compile("arc_easy.*items")).wait_for()
        visit.press(page.get_by_role("link", name="Item 2", exact=True))
        page.get_by_text("One item is shown.").wait_for()
        visit.press(page.get_by_role("link", name=f"Run {run}"))
        page.wait_for_url(RUN)
        visit.press(page.locator("main").get_by_role("link", name="Compare"))
        page.wait_for_url("**/compare?*")
        visit.tab_to(page.get_by_label("Second", exact=False))
        keyboard.type(finished["reference"])
        visit.press(page.get_by_role("button", name="Compare"))
        page.get_by_text("not comparable").wait_for()
        visit.press(page.get_by_role("link", name="Compare the items of both all the same"))
        page.get_by_role("table", name=re.compile("Each figure on both sides")).wait_for()


def test_the_focus_stays_where_it_was_when_news_come(chromium: Browser, server: Server) -> None:
    (run,) = server.submit(tasks=["piqa"], backends=["reference"], shots=[3])
    with visiting(chromium, server.address) as visit:
        visit.open(f"/runs/{run}")
        target = visit.page.get_by_role("link", name="Side by side")
        visit.tab_to(target)
        watch(visit)
        visit.page.wait_for_timeout(1500)
        assert visit.focus()["text"] == "Side by side"


# ---- every page --------------------------------------------------------------------------------------


def paths(finished: dict[str, str]) -> list[str]:
    first, second = finished["reference"], finished.get(OTHER, finished["reference"])
    return [
        "/",
        "/?state=done",
        "/submit",
        f"/runs/{first}",
        f"/runs/{first}/cells/0",
        f"/runs/{first}/cells/1",
        f"/runs/{first}/cells/0?against={second}",
        f"/batches/{finished['batch']}",
        "/compare",
        f"/compare?first={first}&second={second}",
        "/history",
        "/history?task=arc_easy&figure=acc",
        "/matrix",
        "/devices",
        "/login",
    ]


@sizes
def test_every_page_fits_is_named_and_shows_the_focus(
    chromium: Browser, server: Server, finished: dict[str, str], size: tuple[int, int]
) -> None:
    with visiting(chromium, server.address, size) as visit:
        for path in paths(finished):
            visit.open(path)
            visit.check_fits()
            visit.check_is_named()
            for _ in range(60):
                visit.page.keyboard.press("Tab")
                visit.check_focus_is_seen()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_written_can_be_read(
    chromium: Browser, server: Server, finished: dict[str, str], scheme: str
) -> None:
    """Contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3), by day and by night."""
    with visiting(chromium, server.address, color_scheme=scheme) as visit:
        for path in paths(finished):
            visit.open(path)
            pale = visit.page.evaluate(_PALE)
            assert pale == [], path


def test_pages_do_without_scripts(chromium: Browser, server: Server, finished: dict[str, str]) -> None:
    with visiting(chromium, server.address, PHONE, java_script_enabled=False) as visit:
        page = visit.page
        visit.open("/submit")
        page.get_by_label("Names or patterns").fill("arc_easy")
        page.get_by_label("reference", exact=False).check()
        page.get_by_role("button", name="Submit").click()
        run = run_on(visit)
        server.wait_for([run])
        visit.open(f"/runs/{run}")
        assert page.get_by_role("table").filter(has_text="acc_norm").count() > 0


# ---- what strangers write ----------------------------------------------------------------------------

EVIL = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>\u202egpj.exe\u2066"\'</table></main>'


def test_hostile_text_is_text(chromium: Browser, server: Server, finished: dict[str, str]) -> None:
    """A document from elsewhere, whose every name wants to be more than a name."""
    with Store.open(server.store) as store:
        run = store.run(finished["reference"])
    cells = tuple(replace(cell, notes=(EVIL,), model=EVIL) for cell in run.cells)
    models = tuple(replace(model, reference=EVIL, label=EVIL) for model in run.models)
    evil = replace(run, id="evil", cells=cells, models=models)
    answer = server.ask("POST", "/api/uploads", to_json(evil).encode())
    assert answer.status == 201, answer.text
    with visiting(chromium, server.address, PHONE) as visit:
        for path in ("/", "/runs/evil", "/runs/evil/cells/0", "/compare?first=evil", "/matrix", "/history"):
            visit.open(path)
            assert visit.page.evaluate("window.hit === undefined"), path
            assert "\u202e" not in visit.page.content(), path
            assert visit.page.locator("main").count() == 1
            visit.check_fits()
        visit.open("/runs/evil")
        assert "<script>window.hit=1</script>" in visit.page.locator("main").inner_text()


#: elements with a text of their own whose colour is too near to that of what lies below
_PALE = """() => {
    const channels = (colour) => {
        const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const linear = (value) => {
        const share = value / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    };
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const below = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const found = channels(getComputedStyle(at).backgroundColor);
            if (found[3] === 255) return found;
        }
        return channels(getComputedStyle(document.body).colorScheme.includes('dark') ? 'black' : 'white');
    };
    const pale = [];
    for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || element.closest('svg') || !element.checkVisibility()) continue;
        const [one, other] = [light(channels(getComputedStyle(element).color)), light(below(element))];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (contrast < 4.5) pale.push(`${contrast.toFixed(2)} ${element.outerHTML.slice(0, 150)}`);
    }
    return pale.slice(0, 5);
}"""
