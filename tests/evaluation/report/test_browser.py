"""The page in a real browser: no errors, sorting and filters work, nothing overlaps, it prints."""

import re

import pytest

WIDTHS = (1280, 400)

OVERLAPS = """
() => {
  // boxes of texts and frames that must not lie on each other, and texts within each figure
  const shown = (e) => e.checkVisibility() && e.getBoundingClientRect().width > 1;
  const name = (e) => `${e.tagName} "${e.textContent.trim().slice(0, 40)}"`;
  const found = [];
  const compare = (list, slack) => {
    const boxes = list.filter(shown).map((e) => [e, e.getBoundingClientRect()]);
    for (let i = 0; i < boxes.length; i += 1) {
      for (let j = i + 1; j < boxes.length; j += 1) {
        const [a, p] = boxes[i], [b, q] = boxes[j];
        if (a.contains(b) || b.contains(a)) continue;
        const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
        const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
        if (wide > slack && high > slack) found.push(`${name(a)} on ${name(b)}`);
      }
    }
  };
  compare(Array.from(document.querySelectorAll(
    "h1,h2,h3,h4,main p,header p,nav li,figcaption,figure svg,.scroll,summary,label,dl,pre")), 1);
  for (const svg of document.querySelectorAll("figure svg")) {
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    compare(Array.from(svg.querySelectorAll("text")), 3.5 * scale);
    const frame = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) {
      const box = text.getBoundingClientRect();
      const aside = box.left < frame.left - 1 || box.right > frame.right + 1;
      const out = aside || box.bottom > frame.bottom + 1;
      if (shown(text) && out) found.push(`${name(text)} beyond ${svg.parentElement.id}`);
    }
  }
  return found;
}
"""


@pytest.fixture
def open_page(browser, large_report):
    """Open the page at a width; at the end nothing may have been complained of or fetched."""
    complaints, contexts = [], []

    def opened(width=1280, scripts=True, **more):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=scripts, **more
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(large_report.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def texts(page, selector):
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overlaps_and_nothing_is_wider_than_the_page(open_page, width, scheme):
    page = open_page(width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERLAPS) == []


def test_the_check_for_overlaps_finds_one(open_page):
    page = open_page()
    page.evaluate("document.querySelector('#failures h2').style.marginTop = '-60px'")
    page.evaluate("document.querySelector('figure text').setAttribute('x', '390')")
    assert len(page.evaluate(OVERLAPS)) >= 2


def test_the_leaderboard_sorts_both_ways_and_by_numbers(open_page):
    page = open_page()
    table = "#table-board-overall"
    head = page.locator(f"{table} thead th", has_text="Seconds")
    for order, expected in (("ascending", sorted), ("descending", lambda x: sorted(x)[::-1])):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == order
        seconds = [
            float(re.match(r"[\d.]+", t)[0]) for t in texts(page, f"{table} td:nth-child(8)")
        ]
        assert seconds == expected(seconds)
        assert len(seconds) == 25


def test_the_keyboard_sorts_too(open_page):
    page = open_page()
    button = page.locator("#table-board-overall thead button").nth(2)
    button.focus()
    page.keyboard.press("Enter")
    teams = texts(page, "#table-board-overall tbody th")
    assert teams == sorted(teams)


def test_one_board_is_shown_and_the_modality_changes_its_means(open_page):
    page = open_page()
    assert page.locator("[data-board]:visible").count() == 1
    before = texts(page, "#table-board-3D td:nth-child(6)")
    page.get_by_label("3D", exact=True).check()
    assert page.locator("[data-board='3D']").is_visible()
    page.locator("#modality").select_option("MR")
    shown = texts(page, "#table-board-3D td:nth-child(6)")
    expected = texts(page, "#table-board-3D td:nth-child(6)")
    cells = page.locator("#table-board-3D td:nth-child(6)").evaluate_all(
        "cells => cells.map(cell => JSON.parse(cell.dataset.means).MR)"
    )
    assert shown == expected == cells
    assert page.locator("#modality option[value='Dermoscopy']").is_disabled()
    page.locator("#modality").select_option("")
    assert texts(page, "#table-board-3D td:nth-child(6)") != shown
    assert len(before) == len(shown) == 25


def test_cases_are_filtered_paged_and_opened(open_page):
    page = open_page()
    rows = page.locator("#table-cases > tbody > tr")
    shown = page.locator("#cases-shown")
    assert rows.count() == 50
    assert shown.inner_text() == "1 to 50 of 80 cases (80 in all)"
    page.locator("#cases-next").click()
    assert rows.count() == 30
    page.locator("#cases-modality").select_option("MR")
    page.locator("#cases-search").fill("case_0")
    assert shown.inner_text() == "1 to 16 of 16 cases (80 in all)"
    page.locator("#cases-status").select_option("crash")
    names = texts(page, "#table-cases tbody button")
    assert names == ["3DBox_MR_a-long-name-of-a-case_016"]
    page.locator("#table-cases tbody button").click()
    lines = texts(page, "#table-cases .detail tbody tr")
    assert len(lines) == 25
    assert sum("crash" in line and "exit code" in line for line in lines) == 5


def test_the_first_cases_are_those_in_which_teams_differ_most(open_page):
    page = open_page()
    drawn = texts(page, "#table-cases > tbody > tr > td:nth-child(4)")
    assert drawn == sorted(drawn, reverse=True)
    static = open_page(scripts=False)
    first = static.locator("#table-cases > tbody > tr").first
    # what stands there without scripts is what the script draws
    row = [text.strip() for text in first.locator("td").all_text_contents()]
    drawn_row = texts(page, "#table-cases > tbody > tr:first-child > td")
    assert [text.removeprefix("▸\u00a0") for text in drawn_row] == row


def test_without_scripts_leaderboard_and_figures_are_there(open_page):
    page = open_page(scripts=False)
    assert page.locator("[data-board]:visible").count() == 3
    assert page.locator("figure svg:visible").count() >= 20
    assert page.locator(".controls:visible").count() == 0


def test_it_prints_with_all_boards_and_without_controls(open_page):
    page = open_page()
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("[data-board]:visible").count() == 3
    assert page.locator(".controls:visible").count() == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert page.locator("[data-board]:visible").count() == 1


def test_everything_has_a_name_for_those_who_do_not_see_it(open_page):
    page = open_page()
    nameless = page.evaluate(
        """() => Array.from(document.querySelectorAll(
             'svg[role=img],button,input,select,table,a,[role=region]'))
           .filter((e) => {
             const ids = (e.getAttribute('aria-labelledby') ?? '').split(' ').filter(Boolean);
             const label = ids.map((id) => document.getElementById(id)?.textContent ?? '').join('');
             return !(label || e.getAttribute('aria-label') || e.textContent.trim()
                      || e.labels?.length);
           }).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    levels = page.evaluate(
        "Array.from(document.querySelectorAll('h1,h2,h3,h4')).map((h) => Number(h.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    ids = page.evaluate("Array.from(document.querySelectorAll('[id]')).map((e) => e.id)")
    assert len(ids) == len(set(ids))
