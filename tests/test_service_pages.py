"""The pages of runs, the form, and devices: what they say, as sound HTML that no text breaks."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

pytest.importorskip("fastapi", reason="the service is not installed")
from service_thread import Reply, Running, running

from slmeval.cli.run_command import command as run_command
from slmeval.document import cell_document, to_json
from slmeval.service import plots
from slmeval.service.first_figures import first_figures
from slmeval.service.ledger import Ledger, Submission
from slmeval.service.pages import render
from slmeval.service.pages.again import again
from slmeval.service.pages.command_line import command_line
from slmeval.service.pages.form_fields import RARE
from slmeval.service.pages.form_mistakes import by_field, in_the_form
from slmeval.service.roster import Device
from slmeval.service.settings import Settings
from slmeval.service.shown import LONGEST, plain, shown
from slmeval.store import Store
from slmeval.types import (
    CellResult,
    DataOrigin,
    Failure,
    Figure,
    Machine,
    ModelInfo,
    ModelReport,
    RunOptions,
    RunResult,
    Series,
)

HTML = {"Accept": "text/html"}
#: the largest page, in bytes
LARGEST = 500_000
HOSTILE = (
    "<script>window.hit=1</script>",
    '"><img src=x onerror=alert(1)>',
    "'}} {{ 7*1111111 }} {% raw %}",
    "\u202egpj.exe\u2066 \u200e",
    "a\0b\x1b[31m\x7f\x85",
    "\ud800 half \udfff",
    "</main></table></bdi>&lt;b&gt;&amp;",
    "http://evil.example/ javascript:alert(1)",
)
EVIL = " ".join(HOSTILE)
MACHINE = Machine("Linux 6.1", "Processor 9", 4, 8 * 2**30, "3.11", ("Card 1",))
ORIGIN = DataOrigin("sample arc_easy/test.jsonl", "d" * 64, 100)


# ---- runs to look at ---------------------------------------------------------------------------------


def figure(name: str = "acc", value: float | None = 0.625, **more: object) -> Figure:
    given: dict[str, object] = {"stderr": 0.05, "ci95": (0.53, 0.71), "n": 64, "unit": "", **more}
    return Figure(name, value, **given)  # type: ignore[arg-type]


def cell(name: str = "arc_easy", **more: object) -> CellResult:
    figures = (
        figure(higher_is_better=True),
        figure("chance", 0.25, stderr=None, ci95=None, note="exact"),
        figure("margin", 1.5, ci95=(1.25, 1.75), unit="nats", source="estimated", note="from 64 of them"),
    )
    plain_cell = CellResult(
        "task", name, "1.0", "reference", "tiny", 0, 1234, 64, True, figures, {"truncated": 3}, ORIGIN
    )
    return replace(plain_cell, notes=("a note on it",), **more)  # type: ignore[arg-type]


def probe() -> CellResult:
    series = (
        Series("latency", "ms", (3.0, 4.0, 3.5)),
        Series("draw", "W", (), "unavailable", "no meter is there"),
    )
    figures = (figure("latency", 3.5, ci95=(3.25, 3.75), unit="ms", higher_is_better=False),)
    return replace(cell("decode"), kind="probe", figures=figures, series=series, sample=False)


def result(run: str, cells: Sequence[CellResult] = (), **more: object) -> RunResult:
    info = ModelInfo("llama", 1_234_567, 1_234_567, "float32", "cpu", 512, 1000, "enginex", "9.8.7")
    model = ModelReport("tiny", "reference", "models/tiny", "abcdef0123456789", "tok", "f" * 64, {}, info)
    started, finished = "2026-11-01T10:00:00+00:00", "2026-11-01T10:05:00+00:00"
    options = RunOptions(backends=("reference",), models=("models/tiny",), tasks=("arc_easy",), limit=64)
    whole = RunResult(
        run, started, finished, "done", False, options, {"slmeval": "0.1"}, MACHINE, (model,), tuple(cells)
    )
    return replace(whole, asked=70, reused=6, **more)  # type: ignore[arg-type]


def submission(run: str, batch: str = "batch-1", **more: object) -> Submission:
    at = "2026-11-02T08:00:00.000+00:00"
    options = RunOptions(backends=("reference",), models=("models/tiny",), tasks=("arc_easy", "piqa"))
    plain_one = Submission(run, batch, at, "ana", "queued", options, "reference")
    return replace(plain_one, **more)  # type: ignore[arg-type]


# ---- a server, and a browser's part ------------------------------------------------------------------


@dataclass
class Browser:
    """Asks as a browser does: with its cookies, and a form's token."""

    server: Running
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, status: int = 200) -> str:
        reply = self._ask("GET", path)
        assert reply.status == status, reply.text[:2000]
        return Page(reply.text).text

    def post(self, path: str, fields: Sequence[tuple[str, str]], *, signed: bool = True) -> Reply:
        token = re.search(r'name="form_token" value="(\w+)"', self.get("/submit"))
        assert token is not None
        given = [*fields, *([("form_token", token[1])] if signed else [])]
        body = urlencode(given, errors="surrogatepass").encode()
        return self._ask("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        told = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given = {**HTML, **(headers or {}), **({"Cookie": told} if told else {})}
        reply = self.server.ours(method, path, headers=given, body=body)
        self.cookies |= {name: value.partition(";")[0] for name, value in reply.cookies.items()}
        return reply

    @property
    def store(self) -> Store:
        return Store.open(self.server.settings.store)

    def connect(self, name: str, engines: Sequence[str], **more: object) -> None:
        """A device that is busy, so that nothing is given to it."""

        async def send(_: str | bytes) -> None:
            raise ConnectionError

        given: dict[str, object] = {"memory": 2 * 2**30, "local": False, "run": "20261101-busy", **more}
        device = Device(name, "i", MACHINE, tuple(engines), send=send, **given)  # type: ignore[arg-type]
        self.server.service.roster.enter(device)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    yield from _browsing(tmp_path)


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One to which nothing is ever submitted, with a device."""
    for browser in _browsing(tmp_path_factory.mktemp("idle")):
        browser.connect("mac", ["reference"])
        yield browser
        with browser.store as store:
            assert Ledger(store).submissions() == []


def _browsing(tmp_path: Path) -> Iterator[Browser]:
    models = tmp_path / "models"
    (models / "tiny").mkdir(parents=True)
    (models / "tiny" / "config.json").write_text("{}")
    settings = Settings(store=tmp_path / "store.db", folders=(models,), worker=False)
    with running(settings) as (server, _):
        yield Browser(server)


_VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "wbr"})
_ADDRESSES = frozenset({"href", "src", "action", "formaction", "data", "poster", "xlink:href"})
_NAMED = frozenset({"input", "select", "textarea"})


class Page(HTMLParser):
    """Fails where a page is not sound: tags, ids, labels, scripts, styles, addresses."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = text
        self.ids: list[str] = []
        self._open: list[str] = []
        self._labels: set[str] = set()
        self._fields: list[Mapping[str, str]] = []
        self._pointed: set[str] = set()
        self.feed(text)
        self.close()
        assert self._open == []
        self._check_names()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert len(given) == len(attrs), f"an attribute twice: {attrs}"
        assert tag != "style"
        assert not [name for name in given if name == "style" or name.startswith("on")]
        for name in _ADDRESSES & set(given):
            assert re.match(r"/(?!/)|#|\?", given[name]), f"{tag} {name}={given[name]!r}"
        if tag == "script":
            assert given["src"].startswith("/static/")
        self._note(tag, given)
        if tag not in _VOID:
            self._open.append(tag)

    def _note(self, tag: str, given: Mapping[str, str]) -> None:
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "label":
            self._labels.add(given["for"])
        if tag in _NAMED and given.get("type") != "hidden":
            self._fields.append(given)
        for name in ("aria-describedby", "aria-labelledby", "list", "for"):
            self._pointed.update(given.get(name, "").split())
        if tag == "th":
            assert given["scope"] in ("row", "col")
        if tag == "form" and given.get("method") == "post":
            self._pointed.add("main")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1:] == [tag], f"</{tag}> within {self._open}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            assert not data.strip(), "a script within the page"
        odd = re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffd]", data)
        assert not odd, repr(data)

    def _check_names(self) -> None:
        assert len(self.ids) == len(set(self.ids)), "an id twice"
        assert self._pointed <= set(self.ids), self._pointed - set(self.ids)
        for given in self._fields:
            assert given.get("id") in self._labels or given.get("aria-label"), given
        assert len(self.text.encode()) < LARGEST


def words(page: str) -> str:
    """What a reader sees, each run of blanks as one."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", bare)).split())


# ---- text from strangers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plain", "<bdi>plain</bdi>"),
        ("<b>&\"'", "<bdi>&lt;b&gt;&amp;&#34;&#39;</bdi>"),
        ("a\0b", '<bdi>a<span class="mark">␀</span>b</bdi>'),
        ("\x7f", '<bdi><span class="mark">␡</span></bdi>'),
        ("\u202e", '<bdi><span class="mark">\\u202e</span></bdi>'),
        ("\ud83d", '<bdi><span class="mark">\\ud83d</span></bdi>'),
        ("\U000e0041", '<bdi><span class="mark">\\U000e0041</span></bdi>'),
        (
            "\0" * 5000,
            '<bdi><span class="mark">␀×2,000</span>'
            '<span class="cut">… (2,000 of 5,000 characters)</span></bdi>',
        ),
        ("a\nb", '<bdi>a<span class="mark">␊</span>b</bdi>'),
        ("זה \u200dעברית 🏳️\u200d🌈", "<bdi>זה \u200dעברית 🏳️\u200d🌈</bdi>"),
        (17, "<bdi>17</bdi>"),
    ],
)
def test_odd_characters_are_marks(text: object, told: str) -> None:
    assert str(shown(text)) == told


def test_a_text_of_lines_keeps_them() -> None:
    assert str(shown("a\n\tb\r\0", lines=True)) == (
        '<bdi class="lines">a\n\tb<span class="mark">␍</span><span class="mark">␀</span></bdi>'
    )


def test_marks_on_marks_end_somewhere() -> None:
    told = str(shown("e" + "\u0301" * 500))
    assert told.count("\u0301") == 4
    assert "×496" in told


def test_a_long_text_is_cut_and_its_length_told() -> None:
    told = str(shown("x" * 10_000_000))
    assert len(told) < LONGEST + 200
    assert "2,000 of 10,000,000 characters" in told
    assert len(plain("x" * 10_000_000)) == 201


@pytest.mark.parametrize("hostile", HOSTILE)
def test_plain_text_has_no_odd_character(hostile: str) -> None:
    assert not re.search("[\0-\x1f\x7f-\x9f\u200e\u202a-\u202e\u2066-\u2069\ud800-\udfff]", plain(hostile))


# ---- the list of runs --------------------------------------------------------------------------------


def test_no_run_is_a_page_that_says_how_to_begin(browser: Browser) -> None:
    page = words(browser.get("/"))
    assert "No runs yet" in page
    assert "slmeval run --tasks" in page


def test_runs_from_everywhere_stand_in_one_list(browser: Browser) -> None:
    with browser.store as store:
        store.finish_run(result("20261101-shell"))
        store.begin_run("20261103-killed", "2026-11-03T10:00:00+00:00", RunOptions(tasks=("piqa",)))
        Ledger(store).submit([submission("20261102-queued")])
        with store.writing() as db:
            db.execute("UPDATE runs SET pid = NULL WHERE id = '20261103-killed'")
    page = browser.get("/")
    assert re.findall(r'href="/runs/([^"]+)"', page) == [
        "20261103-killed",
        "20261102-queued",
        "20261101-shell",
    ]
    assert "interrupted" in words(page).split("20261103-killed")[1].split("20261102")[0]
    assert "at a shell" in words(page)
    assert "ana batch" in words(page)
    assert "20261102-queued" in browser.get("/?state=queued")
    assert "20261102-queued" not in browser.get("/?state=done")
    assert "No run is cancelled" in words(browser.get("/?state=cancelled"))


def test_every_run_is_on_one_page(browser: Browser) -> None:
    with browser.store as store:
        Ledger(store).submit(
            [
                submission(f"run-{number:04}", EVIL.encode("ascii", "ignore").decode())
                for number in range(1000)
            ]
        )
    found: list[str] = []
    address, pages = "/", 0
    while address:
        page = browser.get(address)
        pages += 1
        found += re.findall(r'href="/runs/([^"]+)"', page)
        assert ("data-stream" in page) is (pages == 1), "news come on the first page alone"
        older = re.search(r'href="([^"]+)" rel="next"', page)
        address = unescape(older[1]) if older else ""
    assert pages == 20
    assert found == [f"run-{number:04}" for number in reversed(range(1000))]


@pytest.mark.parametrize(
    "address", ["/?state=sleeping", "/?before=nobody", "/runs/nobody", "/batches/nobody"]
)
def test_what_is_not_there_is_said_in_the_layout(browser: Browser, address: str) -> None:
    page = browser.get(address, 404)
    assert "Not found" in words(page)
    assert "nobody" in page or "sleeping" in page


# ---- one run -----------------------------------------------------------------------------------------


def test_a_run_in_the_queue_says_what_it_waits_for(browser: Browser) -> None:
    with browser.store as store:
        events = Ledger(store).submit([submission("20261102-queued", wanted="jetson")])
    page = browser.get("/runs/20261102-queued")
    assert 'data-stream="/api/runs/20261102-queued/events"' in page
    assert f'data-after="{events[-1].id}"' in page
    told = words(page)
    assert "queued" in told
    assert "jetson" in told
    assert "2026-11-02 08:00:00 by ana" in told
    assert "Cancel this run" in told
    assert "slmeval run --backend reference --model models/tiny --tasks arc_easy,piqa" in told


def begun(store: Store, run: str) -> Ledger:
    ledger = Ledger(store)
    ledger.submit([submission(run)])
    ledger.start(run, "mac")
    ledger.tell([(run, "planned", {"cells": ["a", "b", "c"], "requests": 600})])
    return ledger


def test_a_run_under_way_says_how_far_it_is(browser: Browser) -> None:
    with browser.store as store:
        ledger = begun(store, "20261102-running")
        for done in (0, 100, 300):
            told = {"label": "tiny · reference", "done": done, "total": 600, "unit": "req"}
            ledger.tell([("20261102-running", "progress", told)])
        with store.writing() as db:
            # 300 in 60 seconds
            db.execute("UPDATE events SET at = '2026-11-02T08:00:00+00:00'")
            db.execute(
                "UPDATE events SET at = '2026-11-02T08:01:00+00:00' WHERE id = (SELECT max(id) FROM events)"
            )
    page = browser.get("/runs/20261102-running")
    assert '<progress id="progress" max="600" value="300">' in page
    told = words(page)
    assert "tiny · reference 300 of 600 requests 5.00 requests/s 60 s left" in told
    assert "0 of 3 cells finished, 600 requests in all" in told
    assert "mac" in told


def test_cells_appear_as_they_finish_each_once(browser: Browser) -> None:
    with browser.store as store:
        ledger = begun(store, "20261102-running")
        first, second = (
            cell("arc_easy"),
            cell("piqa", figures=(figure("acc", 0.9375, higher_is_better=True),)),
        )
        for one in (first, first, second):
            ledger.tell([("20261102-running", "cell", {"cell": cell_document(one)})])
            ledger.requeue("20261102-running", "the device was lost", progressed=True)
            ledger.start("20261102-running", "mac")
    page = words(browser.get("/runs/20261102-running"))
    assert page.count("arc_easy@0 sample") == 1
    assert "0.9375" in page
    assert "2 of 3 cells finished" in page
    assert "Figures so far" in page


def test_a_finished_run_is_the_whole_report(browser: Browser) -> None:
    failures = (Failure("vllm", "tiny", "it is not installed here"),)
    with browser.store as store:
        run = result("20261101-shell", (cell(), probe()), failures=failures)
        store.finish_run(run)
    page = browser.get("/runs/20261101-shell")
    assert "data-stream" not in page
    told = words(page)
    for part in (
        "acc 0.6250 0.0500 [0.53, 0.71] 64 sample measured",
        "chance 0.2500 64 sample measured exact",
        "margin 1.5000 0.0500 [1.25, 1.75] 64 sample nats estimated from 64 of them",
        "latency 3.5000 0.0500 [3.25, 3.75] 64 ms measured",
        "a note on it",
        "3 requests shortened to fit the model's context",
        "above chance: acc",
        "tiny · vllm it is not installed here",
        "hash abcdef012345",
        "1,234,567 parameters",
        "enginex 9.8.7 , float32 on cpu",
        "Processor 9 Linux 6.1 , 4 cores, 8.0 GiB, Card 1",
        "70 asked, 6 reused",
        "latency : 3 values, 3.0000 to 4.0000 ms , measured",
        "draw : unavailable; no meter is there",
        "slmeval run --backend reference --model models/tiny --tasks arc_easy --limit 64",
    ):
        assert part in told, part
    assert page.count("<svg") == 3, "accuracies, a latency, and its raw series"
    for address in (
        "/runs/20261101-shell/cells/0",
        "/compare?first=20261101-shell",
        "/history?task=arc_easy&amp;figure=acc&amp;shots=0&amp;chat=off",
        "/api/runs/20261101-shell/result",
    ):
        assert f'href="{address}"' in page, address
    assert "Demonstration" not in told


def test_a_demonstration_is_called_one(browser: Browser) -> None:
    with browser.store as store:
        store.finish_run(result("20261101-demo", (cell(),), demo=True))
    assert "Demonstration: the demo model. It says nothing" in words(browser.get("/runs/20261101-demo"))


def test_an_interrupted_run_says_how_to_go_on(browser: Browser) -> None:
    with browser.store as store:
        store.finish_run(result("20261101-cut", (cell(),), status="interrupted"))
    assert "slmeval run --resume 20261101-cut" in words(browser.get("/runs/20261101-cut"))


def test_a_figure_that_is_unavailable_has_no_number(browser: Browser) -> None:
    gone = figure(
        "energy", None, stderr=None, ci95=None, n=0, unit="J", source="unavailable", note="no meter"
    )
    with browser.store as store:
        store.finish_run(result("20261101-gone", (cell(figures=(gone,)),)))
    assert "energy unavailable 0 sample J unavailable no meter" in words(browser.get("/runs/20261101-gone"))


def test_a_run_of_a_thousand_cells_is_a_page(browser: Browser) -> None:
    names = tuple(f"subject_{number:04}" for number in range(1000))
    series = tuple(Series(f"series {number}", "ms", tuple(map(float, range(500)))) for number in range(20))
    cells = [replace(cell("everything"), kind="group", members=names[:500]), replace(probe(), series=series)]
    cells += [cell(name, series=series if name < "subject_0009" else ()) for name in names]
    with browser.store as store:
        store.finish_run(result("20261101-many", cells))
    page = words(browser.get("/runs/20261101-many"))
    assert "everything@0" in page
    assert "more cells: see the document" in page


def test_a_run_is_cancelled_by_its_button(browser: Browser) -> None:
    with browser.store as store:
        Ledger(store).submit([submission("20261102-queued")])
    reply = browser.post("/runs/20261102-queued/cancel", [])
    assert (reply.status, reply.headers["location"]) == (303, "/runs/20261102-queued")
    page = browser.get("/runs/20261102-queued")
    assert "cancelled" in words(page)
    assert "Cancel this run" not in page
    assert "data-stream" not in page


def test_no_other_site_cancels_a_run(browser: Browser) -> None:
    with browser.store as store:
        Ledger(store).submit([submission("20261102-queued")])
    assert browser.post("/runs/20261102-queued/cancel", [], signed=False).status == 403
    assert "queued" in words(browser.get("/?state=queued"))


def test_what_has_ended_is_not_cancelled(browser: Browser) -> None:
    with browser.store as store:
        Ledger(store).submit([submission("20261102-over")])
        Ledger(store).finish("20261102-over", "done")
    reply = browser.post("/runs/20261102-over/cancel", [])
    assert reply.status == 409
    assert "nothing to cancel" in words(Page(reply.text).text)


# ---- side by side ------------------------------------------------------------------------------------


def test_a_batch_stands_side_by_side(browser: Browser) -> None:
    with browser.store as store:
        ledger = Ledger(store)
        ledger.submit(
            [submission("run-a"), submission("run-b", backend="hf"), submission("run-c", wanted="mac")]
        )
        for run, device, value in (("run-a", "mac", 0.625), ("run-b", "jetson", 0.75)):
            ledger.start(run, device)
            store.finish_run(result(run, (cell(figures=(figure("acc", value, higher_is_better=True),)),)))
            ledger.finish(run, "done")
    page = browser.get("/batches/batch-1")
    told = words(page)
    assert "arc_easy@0 acc 0.6250 [0.53, 0.71] n = 64 sample, measured 0.7500" in told
    assert "reference mac hf jetson reference mac" in told
    assert 'href="/compare?first=run-a&amp;second=run-b"' in page
    assert "second=run-c" not in page, "it is not done"
    assert 'data-stream="/api/events"' in page


def test_a_large_batch_is_a_page(browser: Browser) -> None:
    with browser.store as store:
        Ledger(store).submit([submission(f"run-{number}") for number in range(1000)])
        for number in range(12):
            cells = [cell(f"task_{each}", model="m" * 150) for each in range(300)]
            store.finish_run(result(f"run-{number}", cells))
    page = words(browser.get("/batches/batch-1"))
    assert "The first 12 runs have a column" in page
    assert "more figures" in page


@pytest.mark.parametrize(
    ("kind", "figures", "expected"),
    [
        ("task", ["margin:nats", "acc_bytes", "acc_norm", "acc"], ["acc", "acc_norm"]),
        ("task", ["acc_bytes"], ["acc_bytes"]),
        ("task", ["perplexity:nats", "more:nats"], ["perplexity"]),
        ("probe", ["weights:MiB?", "other:MiB?", "peak:MiB?"], ["weights", "peak"]),
        ("probe", ["latency:ms", "note:ms?"], ["latency"]),
        ("task", [], []),
    ],
)
def test_which_figures_are_read_first(kind: str, figures: list[str], expected: list[str]) -> None:
    made = []
    for each in figures:
        name, _, unit = each.partition(":")
        made.append(figure(name, unit=unit.strip("?"), higher_is_better=None if "?" in unit else True))
    assert [one.name for one in first_figures(kind, made)] == expected


# ---- the form ----------------------------------------------------------------------------------------


def test_the_form_offers_what_is_there(browser: Browser) -> None:
    browser.connect("mac", ["llamacpp"])
    browser.connect("jetson", ["llamacpp", "hf"])
    page = browser.get("/submit")
    told = words(page)
    assert 'name="backends" value="llamacpp"' in page
    assert "llamacpp on jetson, mac" in told
    assert "vllm on" not in told
    assert re.search(r"On no connected device: [^.]*vllm", told)
    assert 'name="devices" value="jetson"' in page
    assert '<option value="tiny">' in page
    for task in ("arc", "arc_easy", "mmlu", "decode"):
        assert f'name="tasks" value="{task}"' in page


def test_an_engine_that_no_device_has_can_be_waited_for(browser: Browser) -> None:
    """Without a device no engine is the best one: the form must offer them, or nothing can be submitted."""
    page = browser.get("/submit")
    assert "waits until one is" in words(page)
    assert re.search(r'<details id="absent" open>(?s:.*)name="backends" value="vllm"', page)
    refused = browser.post("/submit", [("tasks", "arc")])
    assert refused.status == 422
    assert re.search(r'<details id="absent" open>', refused.text)
    reply = browser.post("/submit", [("tasks", "arc"), ("backends", "reference")])
    assert reply.status == 303, words(reply.text)
    assert "any that can" in words(browser.get(reply.headers["location"]))


def test_the_form_says_what_the_demo_model_can_be_asked(idle: Browser) -> None:
    hint = re.search(r'id="model-hint">(.*?)</span>\n', idle.get("/submit"), re.DOTALL)
    assert hint is not None
    assert "arc_easy, gsm8k, hellaswag" in words(hint[1])
    assert "mmlu" not in hint[1]


@pytest.mark.parametrize(
    ("typed", "named", "label", "told"),
    [
        ({"more_tasks": "arc_esay"}, "tasks", "Tasks", "did you mean 'arc_easy'?"),
        ({"models": "nope/x"}, "models", "Models", "may not be named here"),
        ({"options": "trheads=4"}, "options", "Options", "did you mean 'threads'?"),
        ({"dtype": "int3", "backends": "reference"}, "dtype", "Number format", "unknown option 'dtype'"),
        ({"devices": "mars"}, "devices", "Devices", "unknown device 'mars'"),
        ({"thinking": "x"}, "thinking", "Thinking", "“Thinking” x: auto, off"),
        ({"target_ci": "1zz"}, "target_ci", "End at an interval of", "“End at an interval of” 1zz: write"),
        ({"repeats": "3"}, "repeats", "Repeats", "add “Temperature” 0.7, say"),
        (
            {"template_options": "a=1"},
            "template_options",
            "Template options",
            "“Template options” is for a chat template: add “Chat template” on",
        ),
        (
            {"until_decided": "yes"},
            "until_decided",
            "End a task when its rules are decided",
            'to be decided: “Rules” "arc_easy',
        ),
        ({"max_tokens": "0"}, "max_tokens", "Most tokens", "greater than or equal to 1"),
    ],
)
def test_a_mistake_is_told_in_the_words_of_the_form(
    idle: Browser, typed: dict[str, str], named: str, label: str, told: str
) -> None:
    """Beside its field, and above, where the focus is; a form has no flags."""
    tasks = {} if "more_tasks" in typed else {"tasks": "arc"}
    reply = idle.post("/submit", [*tasks.items(), *typed.items()])
    assert reply.status == 422
    Page(reply.text)
    assert "<title>Not submitted: Submit a run" in reply.text
    assert re.search(r'<div [^>]*role="alert" tabindex="-1" autofocus>', reply.text)
    assert f"{label} : " in words(reply.text)
    assert words(reply.text).count(told) == 2, words(reply.text)
    beside = re.search(rf'id="{named}-wrong">(.*?)</span>', reply.text, re.DOTALL)
    assert beside is not None
    assert told in words(beside[1])
    assert "--" not in words(reply.text).partition("Names or patterns")[0]
    if named in {field.name for field in RARE}:
        assert '<details id="more" open>' in reply.text


def test_flags_that_are_no_fields_stay_what_they_are() -> None:
    assert (
        in_the_form("connect one (slmeval worker --server URL)")
        == "connect one (slmeval worker --server URL)"
    )
    assert in_the_form("--limitless --limit-x --limit 4") == "--limitless --limit-x “Limit” 4"
    assert by_field("the store is locked") == {"": "the store is locked"}


def test_one_run_is_submitted_and_shown(browser: Browser) -> None:
    browser.connect("mac", ["reference"])
    typed = [
        ("tasks", "arc"),
        ("more_tasks", "piqa, mmlu_*"),
        ("shots", "0, 2"),
        ("limit", "1,000"),
        ("sample", "yes"),
    ]
    typed += [
        ("options", "reference.threads=2"),
        ("seed", "7"),
        ("chat_template", "off"),
        ("temperature", "0.0"),
    ]
    reply = browser.post("/submit", typed)
    assert reply.status == 303, words(reply.text)
    assert re.fullmatch(r"/runs/[\w-]+", reply.headers["location"])
    with browser.store as store:
        (queued,) = Ledger(store).submissions()
    assert queued.options == RunOptions(
        backends=("reference",),
        tasks=("arc", "piqa", "mmlu_*"),
        shots=(0, 2),
        limit=1000,
        sample=True,
        engine_options={"reference.threads": "2"},
        seed=7,
    )
    assert "piqa" in browser.get(reply.headers["location"])


def test_a_run_that_ended_can_be_submitted_again(browser: Browser) -> None:
    """The form is filled in as it was: unaltered, it asks the same."""
    browser.connect("mac", ["reference"])
    typed = [("more_tasks", "arc, mmlu_*"), ("models", "tiny"), ("backends", "reference"), ("devices", "mac")]
    typed += [("shots", "0, 2"), ("limit", "12"), ("sample", "yes"), ("options", "reference.threads=2")]
    typed += [("seed", "7"), ("temperature", "0.7"), ("repeats", "3"), ("target_ci", "acc=0.02, 2pt")]
    typed += [("rules", "arc_easy/acc >= 0.4\narc_easy/acc < 1"), ("until_decided", "yes")]
    sent = browser.post("/submit", typed)
    assert sent.status == 303, words(sent.text)[:1500]
    first = sent.headers["location"]
    assert "Submit again" not in browser.get(first), "it has not ended"
    assert browser.post(f"{first}/cancel", []).status == 303
    link = re.search(r'href="(/submit\?[^"]*)">Submit again<', browser.get(first))
    assert link is not None
    fields = Filled(browser.get(unescape(link[1]))).fields
    assert '<details id="more" open>' in browser.get(unescape(link[1]))
    second = browser.post("/submit", fields).headers["location"]
    with browser.store as store:
        asked = {each.run: each for each in Ledger(store).submissions()}
    one, other = (asked[location.rpartition("/")[2]] for location in (first, second))
    assert (one.options, one.backend, one.wanted) == (other.options, other.backend, other.wanted)
    assert len(one.options.rules) == len(one.options.target_ci) == 2


def test_what_an_address_does_not_hold_is_not_submitted_again() -> None:
    options = RunOptions(tasks=("arc",), models=("a", "b=c"), template_options={"a": "1", "b": "x&y"})
    found = parse_qs(urlsplit(again(submission("run", options=options)) or "").query)
    assert (found["models"], found["more_models"], found["template_options"]) == (
        ["a"],
        ["b=c"],
        ["a=1\nb=x&y"],
    )
    assert "chat_template" not in found
    assert again(submission("run", options=replace(options, tasks=("arc" * 2000,)))) is None


def test_what_was_made_elsewhere_is_not_submitted_again(browser: Browser) -> None:
    with browser.store as store:
        store.finish_run(result("20261101-shell", [cell()]))
    assert "Submit again" not in browser.get("/runs/20261101-shell")


class Filled(Page):
    """The fields of a form as a browser would send them."""

    def __init__(self, text: str) -> None:
        self.fields: list[tuple[str, str]] = []
        self._select = ""
        super().__init__(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        given = {name: value or "" for name, value in attrs}
        if tag in ("select", "textarea"):
            self._select = given["name"]
            self.fields += [(given["name"], "")] if tag == "textarea" else []
        elif tag == "option" and "selected" in given:
            self.fields.append((self._select, given["value"]))
        elif tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self.fields += [(given["name"], given.get("value", ""))] if given["name"] != "form_token" else []

    def handle_data(self, data: str) -> None:
        super().handle_data(data)
        if self._open[-1:] == ["textarea"]:
            name, told = self.fields.pop()
            self.fields.append((name, told + data))


def test_several_runs_lead_to_their_batch(browser: Browser) -> None:
    browser.connect("mac", ["reference", "hf"])
    reply = browser.post("/submit", [("tasks", "arc"), ("backends", "reference"), ("backends", "hf")])
    assert reply.headers["location"].startswith("/batches/")
    assert "2 runs" in words(browser.get(reply.headers["location"]))


@pytest.mark.parametrize(
    ("typed", "named", "told"),
    [
        ({}, "tasks", "no task is chosen"),
        ({"tasks": "arc", "limit": "many"}, "limit", "'many' is not a whole number"),
        ({"tasks": "arc", "limit": "0"}, "limit", "greater than or equal to 1"),
        ({"tasks": "arc", "limit": "9" * 5000}, "limit", "is not a whole number"),
        ({"tasks": "arc", "shots": "0,x"}, "shots", "'x' is not a whole number"),
        ({"tasks": "arc", "temperature": "warm"}, "temperature", "'warm' is not a number"),
        ({"tasks": "arc", "temperature": "nan"}, "temperature", "finite"),
        ({"tasks": "arc", "options": "threads"}, "options", "write it as NAME=VALUE"),
        ({"tasks": "arc", "chat_template": "maybe"}, "chat_template", "'off', 'on' or 'both'"),
        ({"more_tasks": "arc_esay"}, "", "arc_easy"),
        ({"more_tasks": "/etc/passwd.toml"}, "", "is a file"),
        ({"tasks": "arc", "models": "/etc/passwd"}, "", "may not be named here"),
        ({"tasks": "arc", "models": "tiny", "backends": "refrence"}, "", "reference"),
        ({"tasks": "arc", "devices": "mars"}, "", "mars"),
        ({"tasks": "arc", "more_models": EVIL}, "", "may not be named here"),
        ({"more_tasks": EVIL.replace(",", " ")}, "", "script"),
    ],
)
def test_a_mistake_is_told_and_what_was_typed_is_kept(
    idle: Browser, typed: dict[str, str], named: str, told: str
) -> None:
    typed = {name: value.encode("utf-8", "replace").decode() for name, value in typed.items()}
    reply = idle.post("/submit", [*typed.items(), ("seed", "4321")])
    assert reply.status == 422
    page = Kept(reply.text)
    assert 'role="alert"' in page.text
    assert told in words(page.text)
    if named:
        assert f'id="{named}-wrong"' in page.text
        assert re.search(rf'aria-describedby="[^"]*{named}-wrong" aria-invalid="true"', page.text)
    assert 'value="4321"' in page.text
    for name, value in typed.items():
        kept = escape(value).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
        ticked = re.search(rf'name="{name}" value="{re.escape(kept)}"[^>]* checked', page.text)
        chosen = name == "chat_template"
        assert ticked or chosen or f'value="{kept}"' in page.text or f"\n{kept}</textarea>" in page.text, name


class Kept(Page):
    """A page that holds what was typed, odd characters and all, in its fields."""

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["textarea"]:
            super().handle_data(data)


# ---- devices -----------------------------------------------------------------------------------------


def test_devices_that_are_and_that_were(browser: Browser) -> None:
    browser.connect("mac", ["llamacpp", "mlx"], local=True)
    told = {"machine": {"system": EVIL}, "engines": [EVIL], "memory": 1, "version": "1"}
    with browser.store as store:
        Ledger(store).see_device("jetson", told)
    page = words(browser.get("/devices"))
    assert "mac the server's own machine connected 20261101-busy Processor 9" in page
    assert "llamacpp, mlx 2.0 GiB now" in page
    assert "jetson gone" in page
    assert f"slmeval worker --server http://127.0.0.1:{browser.server.port} --name NAME" in page
    assert "slmeval token add NAME --scopes work" in page


# ---- what a reader of many tabs is told ---------------------------------------------------------------


def test_killed_runs_stand_among_the_interrupted_ones(browser: Browser) -> None:
    """The store has them as running: nobody was left to say otherwise."""
    with browser.store as store:
        for number in range(60):
            store.begin_run(f"killed-{number:02}", f"2026-11-03T10:{number:02}:00+00:00", RunOptions())
        store.begin_run("told", "2026-11-03T10:58:30+00:00", RunOptions())
        begun(store, "here")
        with store.writing() as db:
            db.execute("UPDATE runs SET pid = NULL WHERE id LIKE 'killed%'")
            db.execute("UPDATE runs SET status = 'interrupted' WHERE id = 'told'")
    assert re.findall(r'href="/runs/([^"]+)"', browser.get("/?state=running")) == ["here"]
    first = browser.get("/?state=interrupted")
    older = re.search(r'href="(/\?state=interrupted&amp;before=[^"]+)" rel="next"', first)
    assert older is not None
    second = browser.get(unescape(older[1]))
    found = re.findall(r'href="/runs/([^"]+)"', first + second)
    assert found == ["killed-59", "told", *(f"killed-{number:02}" for number in reversed(range(59)))]
    assert 'rel="next"' not in second


@pytest.mark.parametrize(
    ("unit", "number", "told"),
    [("req", 2, "requests"), ("req", 1, "request"), ("probe", 2, "probes"), ("probe", 1, "probe")],
)
def test_what_is_counted_is_one_or_many(unit: str, number: int, told: str) -> None:
    assert render.of_what(unit, number) == told


def test_one_of_a_thing_is_not_called_many(browser: Browser) -> None:
    with browser.store as store:
        ledger = begun(store, "20261102-running")
        ledger.tell([("20261102-running", "planned", {"cells": ["a"], "requests": 1})])
        told = {"label": "tiny", "done": 0, "total": 1, "unit": "probe"}
        ledger.tell([("20261102-running", "progress", told)])
    page = words(browser.get("/runs/20261102-running"))
    assert "0 of 1 probe " in page
    assert "0 of 1 cell finished, 1 request in all" in page


def test_tabs_are_told_apart_by_their_titles(browser: Browser) -> None:
    with browser.store as store:
        ledger = Ledger(store)
        ledger.submit([submission("run-a"), submission("run-b", backend="hf")])
        ledger.start("run-a", "mac")
        store.finish_run(result("run-a", (cell(),)))
        ledger.finish("run-a", "done")

    def title(address: str, status: int = 200) -> str:
        found = re.search(r"<title>(.*?) · slmeval</title>", browser.get(address, status))
        assert found is not None
        return unescape(found[1])

    assert title("/?state=failed") == "Runs: failed"
    assert title("/batches/batch-1") == "Batch batch-1: 1 of 2 runs ended"
    assert title("/runs/run-a/cells/0") == "arc_easy@0 items: reference:tiny"
    assert title("/history") == "arc_easy/acc over runs"
    assert title("/compare?first=run-a") == "Compare"
    assert title("/compare?first=run-z", 404) == "Not compared"
    assert title("/runs/run-z", 404) == "Not found (404)"
    assert title("/history?task=nothing", 422) == "That cannot be done (422)"


def test_an_error_leads_to_the_page_that_was_meant(idle: Browser) -> None:
    page = idle.get("/history?task=nothing", 422)
    assert '<a href="/">All runs</a> · <a href="/history">History</a>' in page
    assert '<a href="/">All runs</a></p>' in idle.get("/runs/nothing", 404)


@pytest.mark.parametrize("address", ["/history", "/matrix", "/matrix?kind=probe", "/compare"])
def test_where_there_is_nothing_it_is_said_where_things_come_from(idle: Browser, address: str) -> None:
    page = idle.get(address)
    told = r"There are no (such )?results yet: submit a run , or measure with slmeval run into"
    assert re.search(told, words(page))
    assert '<a href="/submit">submit a run</a>' in page


def test_one_interval_is_written_in_one_way_on_all_pages(browser: Browser) -> None:
    with browser.store as store:
        figures = (figure(value=1.0, ci95=(0.8865, 1.0), n=30, higher_is_better=True),)
        Ledger(store).submit([submission("run-a")])
        Ledger(store).start("run-a", "mac")
        store.finish_run(result("run-a", (cell(figures=figures),)))
        Ledger(store).finish("run-a", "done")
    for address in ("/runs/run-a", "/batches/batch-1", "/history", "/matrix"):
        assert "[0.89, 1.00]" in words(browser.get(address)), address
    assert "[0.89, 1.00]" in re.findall(r'aria-label="([^"]*over runs[^"]*)"', browser.get("/history"))[0]


def test_a_probe_has_no_shots(browser: Browser) -> None:
    with browser.store as store:
        store.finish_run(result("run-a", (cell(), probe())))
    page = browser.get("/history?task=decode")
    assert "decode/latency" in words(page)
    assert "shots" not in words(page)
    assert "0 shots" in words(browser.get("/history?task=arc_easy"))


# ---- every page, and strangers -----------------------------------------------------------------------


def poisoned(text: str) -> RunResult:
    """A run in which every name and note is ``text``."""
    figures = (figure(text, note=text, unit=text), figure("acc", higher_is_better=True))
    series = (Series(text, text, (1.0, 2.0), note=text),)
    origin = DataOrigin(text, text, 10, text, text)
    one = replace(
        cell(text), version=text, model=text, figures=figures, series=series, data=origin, notes=(text,)
    )
    one = replace(one, counts={text: 3}, settings={text: text})
    group = replace(one, kind="group", members=(text,), over="members")
    measured = replace(one, kind="probe", name=f"{text}2")
    info = ModelInfo(text, 5, 5, text, text, 512, 1000, text, text)
    model = ModelReport(text, text, text, text, text, text, {text: text}, info, (text,), text)
    machine = Machine(text, text, 4, 2**30, text, (text,))
    options = RunOptions(
        backends=(text,), models=(text,), tasks=(text,), engine_options={text: text}, dtype=text
    )
    run = result("evil", (one, group, measured), failures=(Failure(text, text, text),))
    return replace(run, models=(model,), machine=machine, options=options, versions={text: text})


def test_hostile_text_is_text_everywhere(browser: Browser) -> None:
    for number, text in enumerate(HOSTILE):
        _check_text(browser, text, f"{number}")


def _check_text(browser: Browser, text: str, number: str) -> None:
    # the tables take no halves of characters; documents, which are ASCII, do
    whole = text.encode("utf-8", "replace").decode()
    with browser.store as store:
        store.finish_run(replace(poisoned(text), id=f"evil{number}"))
        ledger = Ledger(store)
        options = poisoned(text).options
        evil = submission(
            f"run-evil{number}",
            f"batch-evil{number}",
            submitter=whole,
            backend=whole,
            wanted=whole,
            options=options,
        )
        ledger.submit([evil, submission(f"run-live{number}", f"batch-evil{number}", options=options)])
        ledger.finish(f"run-evil{number}", "failed", whole)
        ledger.start(f"run-live{number}", whole)
        progress = {"label": text, "done": 1, "total": 2, "unit": text}
        ledger.tell([(f"run-live{number}", "progress", progress)])
        ledger.tell(
            [(f"run-live{number}", "cell", {"cell": cell_document(each)}) for each in poisoned(text).cells]
        )
        told = {"machine": render_plain(MACHINE, text), "engines": [text], "memory": 1, "version": text}
        ledger.see_device(whole, told)
    for path in _PATHS:
        page = browser.get(path.format(number))
        assert "7777777" not in words(page), "a template was run"
        assert page.count("<main") == page.count("</main>") == 1


_PATHS = ("/", "/runs/evil{}", "/runs/run-evil{}", "/runs/run-live{}", "/batches/batch-evil{}", "/devices")


def render_plain(machine: Machine, text: str) -> dict[str, object]:
    return {
        "system": text,
        "processor": text,
        "cores": 4,
        "memory": 2**30,
        "python": text,
        "accelerators": [text],
    }


def test_ten_megabytes_are_cut_everywhere(browser: Browser) -> None:
    huge = "<" * 10_000_000
    one = replace(cell(), notes=(huge,), figures=(figure("acc", note=huge, higher_is_better=True),))
    run = result("20261101-huge", (one,), failures=(Failure("hf", "tiny", huge),))
    with browser.store as store:
        store.finish_run(run)
        assert len(to_json(run)) > 30_000_000
    page = browser.get("/runs/20261101-huge")
    assert "of 10,000,000 characters" in page


def test_pages_are_for_those_who_may_read(tmp_path: Path) -> None:
    with running(Settings(store=tmp_path / "store.db", worker=False), {"w": "work"}) as (server, tokens):
        for path in ("/", "/runs/x", "/batches/x", "/submit", "/devices"):
            assert server.ask("GET", path, headers=HTML).status in (303, 401), path
            assert server.ask("GET", path, token=tokens["w"], headers=HTML).status == 403, path
        assert server.ask("GET", "/static/style.css").status == 200


def test_who_may_only_look_is_not_offered_to_submit(tmp_path: Path) -> None:
    scopes = {"read": "read", "submit": "submit"}
    with running(Settings(store=tmp_path / "store.db", worker=False), scopes) as (server, tokens):

        def asked(address: str, scope: str, status: int = 200) -> str:
            reply = server.ask("GET", address, headers=HTML, token=tokens[scope])
            assert reply.status == status
            return Page(reply.text).text

        for address in ("/", "/history", "/matrix", "/compare", "/devices"):
            assert "/submit" in asked(address, "submit")
            assert "/submit" not in asked(address, "read"), address
        refused = asked("/submit", "read", 403)
        assert "needs the scope" in words(refused)
        assert '<a href="/">All runs</a></p>' in refused


def test_what_is_static_has_an_address_of_its_content(browser: Browser) -> None:
    for name in ("style.css", "live.js", "icon.svg"):
        address = render.static(name)
        assert re.fullmatch(rf"/static/{re.escape(name)}\?v=[0-9a-f]{{10}}", address)
        assert browser.server.ask("GET", address).status == 200
    assert browser.server.ask("GET", "/static/../pages/runs.py").status == 404
    assert browser.server.ask("GET", "/static/%2e%2e/pages/runs.py").status == 404


# ---- the line that repeats a run ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(tasks=("arc",)),
        RunOptions(
            backends=("hf", "llamacpp"),
            models=("a b/'c", "hf=$HOME;rm"),
            tasks=("arc_*", "piqa"),
            shots=(0, 5),
            limit=10,
            data="/rows here",
            sample=True,
            dtype="float32",
            seed=7,
            tokenizer="/tok",
            compat="lm-eval",
            position_bias=True,
            executor="x",
            pythons={"hf": "/usr/bin/python"},
            engine_options={"threads": "2", "hf.mode": "a=b"},
            blocked_plugins=("vllm",),
            timeout=30.0,
            chat_template="both",
            chat_shots="message",
            template_options={"enable_thinking": "false"},
            thinking="<think>,</think>",
            max_tokens=9,
            temperature=0.5,
            top_p=0.9,
            repeats=3,
            target_ci=("1.5pt", "acc=0.02"),
            until_decided=True,
            baseline="/base.json",
            rules=("arc/acc >= 0.4", "piqa/acc >= 0.5"),
        ),
    ],
)
def test_the_line_means_the_run_that_it_is_of(options: RunOptions) -> None:
    words_ = shlex.split(command_line(options))
    assert words_[:2] == ["slmeval", "run"]
    given = run_command.make_context("run", words_[2:]).params
    told = {name: given[name] for name in RunOptions.__dataclass_fields__ if name in given}
    assert RunOptions(**told) == options
    assert set(RunOptions.__dataclass_fields__) == set(told)


def test_the_line_names_the_engine_that_was_chosen() -> None:
    assert command_line(RunOptions(tasks=("arc",)), "hf") == "slmeval run --backend hf --tasks arc"


# ---- plots -------------------------------------------------------------------------------------------

_EXTREMES = (
    0.0,
    -0.0,
    5e-324,
    1e-300,
    -3.5,
    0.001,
    1234567.0,
    1e99,
    -1e308,
    1e308,
    float("inf"),
    float("nan"),
)


def drawn(svg: str, width: float, height: float) -> ET.Element:
    """A sound picture, all of whose places are on the paper."""
    root = ET.fromstring(svg)
    for element in root.iter():
        for name, most in (
            ("x", width),
            ("x1", width),
            ("x2", width),
            ("cx", width),
            ("y", height),
            ("cy", height),
        ):
            if name in element.attrib:
                assert -1 <= float(element.attrib[name]) <= most + 1, element.attrib
        for pair in element.attrib.get("points", "").split():
            x, y = map(float, pair.split(","))
            assert -1 <= x <= width + 1
            assert -1 <= y <= height + 1
    return root


def _intervals(value: float, other: float) -> str:
    return plots.intervals([plots.Interval(EVIL, value, other, value, EVIL, other)] * 3, EVIL)


def _over_runs(value: float, other: float) -> str:
    points = [plots.Point(EVIL, each, other, value, EVIL, "/runs/x") for each in (value, other, value / 3)]
    return plots.over_runs(
        [*points, plots.Point("no interval", 1.0, None, None, "", marked=True)], EVIL, "ms"
    )


def _series(value: float, other: float) -> str:
    return plots.series([value, other, *map(float, range(1000))], EVIL)


@pytest.mark.parametrize(
    ("draw", "width"),
    [(_intervals, 380.0), (_over_runs, 720.0), (_series, 260.0)],
    ids=["intervals", "runs", "series"],
)
def test_any_numbers_are_drawn_on_the_paper(draw: Callable[[float, float], str], width: float) -> None:
    for value in _EXTREMES:
        for other in _EXTREMES:
            _check_drawn(draw, width, value, other)


def _check_drawn(draw: Callable[[float, float], str], width: float, value: float, other: float) -> None:
    told = str(draw(value, other))
    assert len(told) < 20_000
    if told:
        root = drawn(told, width, 300.0)
        assert root.attrib["role"] in ("img", "group")
        assert root.attrib["aria-label"]


def test_a_plot_of_intervals_is_to_scale() -> None:
    svg = plots.intervals(
        [plots.Interval("acc", 0.5, 0.25, 0.75, "0.5000", 0.25), plots.Interval("b", 1.0, None, None, "1")],
        "t",
    )
    root = drawn(svg, 380.0, 300.0)
    dots = [float(each.attrib["cx"]) for each in root.iter("circle")]
    whiskers = [each.attrib for each in root.iter("line") if each.attrib["class"] == "whisker"]
    left, right = float(whiskers[0]["x1"]), float(whiskers[0]["x2"])
    assert dots[1] == 372.0
    assert dots[0] == pytest.approx(190.0)
    assert (left, right) == (pytest.approx(99.0), pytest.approx(281.0))
    ticks = [each.text for each in root.iter("text") if each.attrib["class"] == "dim"]
    assert ticks == ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]


def test_a_long_series_keeps_its_ends() -> None:
    values = [0.0] * 10_000
    values[7777] = 9.0
    (curve,) = drawn(plots.series(values, "t"), 260.0, 64.0).iter("polyline")
    heights = [float(pair.split(",")[1]) for pair in curve.attrib["points"].split()]
    assert min(heights) == 3.0
    assert len(heights) <= 400


def test_nothing_is_drawn_of_nothing() -> None:
    assert not plots.intervals([], "t")
    assert not plots.over_runs([], "t")
    assert not plots.series([], "t")


def test_a_plot_s_unit_stands_above_its_numbers() -> None:
    points = [plots.Point("a", 75.0, 60.0, 90.0, "75")]
    drawn, bare = plots.over_runs(points, "t", "tokens/s"), plots.over_runs(points, "t")
    places = {text: (float(x), float(y)) for x, y, text in _TEXTS.findall(drawn)}
    x, y = places.pop("tokens/s")
    assert x == 4
    assert min(other for _, other in places.values()) - y >= 14
    assert bare.count("<text") == drawn.count("<text") - 1


def test_many_points_are_drawn_so_that_the_band_is_seen() -> None:
    """Two hundred bars beside each other are a wall, and two hundred stops of a keyboard one too."""
    few = [plots.Point("a", 0.5, 0.4, 0.6, "0.5", "/runs/a") for _ in range(12)]
    drawn = plots.over_runs(few, "t")
    assert drawn.count('class="whisker"') == drawn.count('r="4"') == 12
    assert "tabindex" not in drawn
    many = few * 16
    many[100:103] = [replace(few[0], low=None, high=None), few[0], replace(few[0], low=None, high=None)]
    drawn = plots.over_runs(many, "t")
    assert drawn.count('class="whisker"') == 1, "one that no neighbour joins"
    assert drawn.count('r="2.5"') == drawn.count('tabindex="-1"') == 192


_TEXTS = re.compile(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="\w+" class="\w*">(.*?)</text>')
