"""Debian's Chromium on our pages: one browser for a module's tests, a context of its own for each visit.

What a visit may not do fails it at its end: a request to another address than the server's, an error on the
console (where Chromium also tells of whatever the Content-Security-Policy refused), an error of a script.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

DESKTOP = (1280, 900)
PHONE = (390, 844)
#: how often Tab is pressed before something counts as out of reach
_TABS = 300

#: what has the focus, and how it shows
_FOCUS = """() => {
    const at = document.activeElement;
    const style = getComputedStyle(at);
    const box = at.getBoundingClientRect();
    return {
        tag: at.tagName,
        text: (at.innerText || at.value || at.id || '').slice(0, 60),
        outline: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0,
        shadow: style.boxShadow !== 'none',
        width: box.width,
        height: box.height,
    };
}"""


def browser_path() -> str | None:
    """Where Chromium is, if it is."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


def why_no_browser() -> str | None:
    """What is missing, if something is."""
    if find_spec("playwright") is None:
        return "playwright is not installed"
    return None if browser_path() else "there is no Chromium on this machine"


@contextmanager
def opened() -> Iterator[Browser]:
    """The browser. It finds no other machine than this one, whatever is asked of it.

    While it is open, no event loop of asyncio can be started in this thread: playwright's own is.
    """
    from playwright.sync_api import sync_playwright

    flags = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    if os.name == "posix" and os.geteuid() == 0:
        flags.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=flags)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser of a module's tests."""
    if (why := why_no_browser()) is not None:
        pytest.skip(why)
    with opened() as browser:
        yield browser


@dataclass
class Visit:
    """A page of the server at ``address``, and all that it did.

    ``expected``: what the one kind of trouble says of itself that is none here, if there is one.
    """

    address: str
    page: Page
    context: BrowserContext
    requests: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    expected: str = ""

    def open(self, path: str) -> None:
        """Go there."""
        self.page.goto(self.address + path, wait_until="load")

    @property
    def path(self) -> str:
        """Where it is."""
        return str(self.page.url).removeprefix(self.address)

    # ---- by keyboard -------------------------------------------------------------------------------

    def tab_to(self, target: Locator) -> None:
        """Press Tab until the target has the focus; the focus must be seen at every step."""
        for _ in range(_TABS):
            self.page.keyboard.press("Tab")
            self.check_focus_is_seen()
            if target.evaluate("element => element === document.activeElement"):
                return
        raise AssertionError(f"Tab does not come to {target} on {self.path}")

    def press(self, target: Locator, key: str = "Enter") -> None:
        """Come to it by Tab, and press a key there."""
        self.tab_to(target)
        self.page.keyboard.press(key)

    def focus(self) -> dict[str, Any]:
        """What has the focus, and how it shows."""
        return dict(self.page.evaluate(_FOCUS))

    def check_focus_is_seen(self) -> None:
        """Whatever has the focus is there to be seen, and marked."""
        at = self.focus()
        if at["tag"] in {"BODY", "HTML"}:  # the end of the page: the next one is its first
            return
        assert at["width"] > 1, f"the focus is on something that is not to be seen: {at}"
        assert at["height"] > 1, f"the focus is on something that is not to be seen: {at}"
        assert at["outline"] or at["shadow"], f"the focus does not show: {at}"

    # ---- what must be true of every page -----------------------------------------------------------

    def check_fits(self) -> None:
        """The page is no wider than its window: what is wide scrolls in its own box."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{self.path} is {wide} pixels wider than the window"

    def check_is_named(self) -> None:
        """It has a title, one main heading, labels for its fields and captions for its tables."""
        assert self.page.title()
        assert self.page.locator("h1").count() == 1
        without = self.page.evaluate(
            """() => [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]
                .filter(each => !each.labels.length && !each.matches('[aria-label], [aria-labelledby]'))
                .map(each => each.outerHTML.slice(0, 200))"""
        )
        assert without == [], f"fields without a label on {self.path}: {without}"
        bare = self.page.evaluate(
            "() => [...document.querySelectorAll('table')].filter(each => !each.caption).length"
        )
        assert bare == 0, f"{bare} tables without a caption on {self.path}"

    def check_stayed_here(self) -> None:
        """Nothing was asked of anybody else, and nothing was refused or failed."""
        strangers = [each for each in self.requests if not each.startswith((f"{self.address}/", "data:"))]
        assert strangers == [], f"requests to others: {strangers}"
        told = [each for each in self.troubles if not self.expected or self.expected not in each]
        assert told == [], f"troubles: {told}"


@contextmanager
def visiting(
    browser: Browser, address: str, size: tuple[int, int] = DESKTOP, **settings: Any
) -> Iterator[Visit]:
    """A visit in a window of that size, with no cookies yet."""
    width, height = size
    phone = {"has_touch": True, "is_mobile": True} if width < 600 else {}
    context = browser.new_context(viewport={"width": width, "height": height}, **phone, **settings)
    context.set_default_timeout(120_000)
    page = context.new_page()
    visit = Visit(address, page, context)
    context.on("request", lambda request: visit.requests.append(request.url))
    page.on("websocket", lambda socket: visit.requests.append(socket.url))
    page.on("pageerror", lambda error: visit.troubles.append(f"{page.url}: {error}"))
    page.on("console", lambda told: _note(visit, told))
    try:
        yield visit
        visit.check_stayed_here()
    finally:
        context.close()


def _note(visit: Visit, told: Any) -> None:
    if told.type in {"error", "warning"}:
        visit.troubles.append(f"{visit.page.url}: {told.type}: {told.text}")
