"""The pictures of the pages in docs/images, which docs/service.md shows: taken by Chromium of real runs.

    python benchmarks/service_pages.py [--write] [--keep FOLDER]

A server is started with two devices in environments of their own, one with llama.cpp and one with
transformers; runs of the demo model are submitted by the form and watched, opened and compared. ``--write``
replaces the pictures in docs/images, else they go to ``--keep``, or nowhere.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pairs
from small_png import smaller

sys.path.insert(0, str(pairs.HERE.parent / "tests"))
from browser import PHONE, Visit, opened, visiting, why_no_browser
from service_server import Server, serving, until
from test_service_two_devices import WITHOUT, environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser

IMAGES = pairs.HERE.parent / "docs" / "images"
#: bytes of a picture at most
LARGEST = 150_000
#: whether the page tells that a run is half way
_UNDER_WAY = "(at => at !== null && at.value > 0 && at.value < at.max)(document.getElementById('progress'))"


# ---- what is seen --------------------------------------------------------------------------------------


class Camera:
    """Takes pictures into a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, visit: Visit, name: str) -> None:
        """The window as it is.

        :raises SystemExit: the page does not fit, or its picture is too large to be kept.
        """
        visit.check_fits()
        small = smaller(visit.page.screenshot(animations="disabled", caret="hide"))
        if len(small) > LARGEST:
            raise SystemExit(f"{name}.png has {len(small):,} bytes")
        (self._folder / f"{name}.png").write_bytes(small)
        print(f"{name}.png: {len(small):,} bytes of {visit.path}", file=sys.stderr)


def log_in(visit: Visit, token: str) -> None:
    """As somebody whom the server knows by a token."""
    visit.open("/login")
    visit.page.get_by_label("Token").fill(token)
    visit.page.get_by_role("button", name="Log in").click()
    visit.page.wait_for_url("**/")


def submit(visit: Visit, camera: Camera | None, tasks: str, engines: Sequence[str], **fields: str) -> str:
    """By the form; where it leads to."""
    page = visit.page
    visit.open("/submit")
    page.get_by_label("Names or patterns").fill(tasks)
    for engine in engines:
        page.locator(f'input[name=backends][value="{engine}"]').check()
    for label, text in fields.items():
        page.get_by_label(label, exact=True).fill(text)
    if camera is not None:
        page.evaluate("window.scrollTo(0, 0)")
        camera.take(visit, "submit")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(lambda url: "/submit" not in url)
    return visit.path


def desktop(browser: Browser, server: Server, token: str, camera: Camera) -> None:
    """What a team sees."""
    with visiting(browser, server.address) as visit:
        log_in(visit, token)
        page = visit.page
        # three runs of either engine, the newest of most rows: a history
        for limit in ("24", "48"):
            submit(visit, None, "arc_easy,hellaswag,gsm8k", ("hf", "llamacpp"), Limit=limit)
        batch = submit(visit, camera, "arc_easy,hellaswag,gsm8k", ("hf", "llamacpp"), Limit="64")
        submit(visit, None, "arc_easy,piqa,prefill,decode", ("llamacpp",), Shots="2")
        # tasks are finished, and something is timed
        page.get_by_role("table").first.wait_for(timeout=300_000)
        until(lambda: page.evaluate(_UNDER_WAY), 60.0, lambda: "nothing is timed")
        camera.take(visit, "live")
        server.wait_for([run["id"] for run in server.get("/api/runs")["runs"]], seconds=300)

        visit.open(batch)
        camera.take(visit, "batch")
        page.get_by_role("link", name="Compare", exact=False).last.click()
        page.get_by_role("table", name="Each figure on both sides").wait_for()
        camera.take(visit, "compare")
        visit.open(batch)
        page.locator("tbody th a").first.click()
        page.wait_for_url("**/runs/*")
        camera.take(visit, "run")
        page.get_by_role("link", name="Items").first.click()
        page.wait_for_url("**/cells/*")
        page.evaluate("document.getElementById('items').scrollIntoView()")
        camera.take(visit, "items")
        for path in ("history?task=hellaswag&figure=acc", "matrix", "devices"):
            visit.open(f"/{path}")
            camera.take(visit, path.partition("?")[0])
        visit.open("/")
        camera.take(visit, "runs")


def phone(browser: Browser, server: Server, token: str, camera: Camera) -> None:
    """The same in a hand."""
    with visiting(browser, server.address, PHONE) as visit:
        log_in(visit, token)
        camera.take(visit, "phone-runs")
        visit.page.locator("tbody th a").first.click()
        visit.page.wait_for_url("**/runs/*")
        camera.take(visit, "phone-run")


# ---- the command ---------------------------------------------------------------------------------------


def pictures(folder: Path, camera: Camera) -> None:
    """Start all that there must be, and take every picture."""
    with serving(folder / "service", "--no-worker") as server:
        server.token = server.add_token("pictures", "admin")
        token = server.add_token("anna", "submit")
        for name, without in WITHOUT.items():
            python = environment(folder / name, without)
            alone = {"SLMEVAL_ENVIRONMENTS": str(folder / "no-environments")}
            device = f"bench-{name}"
            server.worker(
                device, token=server.add_token(device, "work"), python=str(python), environment=alone
            )
        server.wait_for_devices(*(f"bench-{name}" for name in WITHOUT))
        with opened() as browser:
            desktop(browser, server, token, camera)
            phone(browser, server, token, camera)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="into docs/images")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the pictures go, too")
    asked = parser.parse_args(arguments)
    if (why := why_no_browser()) is not None:
        raise SystemExit(why)
    with tempfile.TemporaryDirectory() as home:
        taken = Path(home) / "images"
        taken.mkdir()
        pictures(Path(home), Camera(taken))
        for folder in [*([IMAGES] if asked.write else []), *([asked.keep] if asked.keep else [])]:
            folder.mkdir(parents=True, exist_ok=True)
            for picture in taken.glob("*.png"):
                shutil.copy(picture, folder)


if __name__ == "__main__":
    main()
