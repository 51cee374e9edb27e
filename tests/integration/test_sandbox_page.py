"""The page, in a real browser."""

from __future__ import annotations

import pytest
from chromium import launch_options
from sandbox_support import Client
from sync_provider.sandbox.server import Sandbox


@pytest.mark.browser
def test_a_person_types_a_formula_and_sees_what_a_program_writes(tmp_path):
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)
    with Sandbox(tmp_path) as sandbox, sync_playwright() as playwright:
        client = Client(sandbox)
        rows = [["id", "<b>"], ["001", 2]]
        book = {"id": "demo", "title": "Demo", "sheets": {"Clients": rows}, "share": {client.email: "writer"}}
        client.control("POST", "spreadsheets", book)
        browser = playwright.chromium.launch(**launch_options())
        page = browser.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(sandbox.base_url)
        page.get_by_role("link", name="Demo").click()
        expect(page.get_by_label("B1", exact=True)).to_have_value("<b>")
        cell = page.get_by_label("B2", exact=True)
        cell.fill("=1+1")
        cell.press("Enter")
        expect(cell).to_have_value("2")
        assert client.rows("demo", "Clients", "FORMULA") == [["id", "<b>"], ["001", "=1+1"]]
        other = page.get_by_label("A2", exact=True)
        other.click()
        page.keyboard.type("0042")
        other.press("Enter")
        expect(other).to_have_value("42")
        client.put("demo", "Clients!A3", [["from a program"]])
        expect(page.get_by_label("A3", exact=True)).to_have_value("from a program")
        browser.close()
        assert problems == []
