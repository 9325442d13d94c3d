"""A real browser for the pages that Lamina writes: Chromium, without a network, and every request that it makes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("LAMINA_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
HOSTILE = [
    "</script><script>document.body.dataset.hacked=1</script>",
    "<img src=x onerror=document.body.dataset.hacked=1>",
    '"><svg onload=document.body.dataset.hacked=1>',
    "&lt;b&gt; &amp;lt; <b>bold</b>",
    "'; document.body.dataset.hacked=1; //",
    "${document.body.dataset.hacked=1}{{7*7}}",
    "\u2028\u2029\u202eright to left\u202c",
    "שלום 日本語 👩‍👩‍👧 𝒇",
    "a\tb\nc\x00d",
    "",
]

Open = Callable[..., Any]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium with a profile of its own; the tests skip where it or Playwright is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not CHROMIUM:
        pytest.skip("needs Chromium (LAMINA_CHROMIUM names another place)")
    with playwright.sync_playwright() as running:
        context = running.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=CHROMIUM, headless=True, args=FLAGS
        )
        yield context
        context.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Opens a file in a window of a width, light or dark; at the end, it has asked for nothing and failed nowhere."""
    pages, requests, errors = [], [], []

    def open_page(path: Path, *, width: int = 1600, height: int = 1000, scheme: str = "light") -> Any:
        page = browser.new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(path.as_uri())
        requests.remove(path.as_uri())
        return page

    yield open_page
    hacked = [page.evaluate("document.body.dataset.hacked ?? null") for page in pages]
    for page in pages:
        page.close()
    assert [url for url in requests if not url.startswith(("blob:", "data:"))] == []
    assert errors == []
    assert set(hacked) <= {None}
