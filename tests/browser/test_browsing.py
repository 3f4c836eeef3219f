"""Looking through what is in the corpus."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from browser.contexts import NO_SCRIPT, Contexts, expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

REVIEW = "/documents/reviews/multi-agent-coordination-and-collapse"


def one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def shown(page: Page) -> Locator:
    return page.locator("#entries > li:visible")


def counted(page: Page) -> tuple[int, int]:
    """What the list says of itself, to those who do not see it as well."""
    found = re.match(r"(\d+) of (\d+)", page.get_by_role("status").text_content() or "")
    assert found
    return int(found[1]), int(found[2])


def test_episodes_are_filtered_as_one_types(page: Page) -> None:
    page.goto("/episodes")
    every = shown(page).count()
    assert counted(page) == (every, every)
    search = page.get_by_role("searchbox", name="Search")
    search.press_sequentially("Reward")
    expect(page.get_by_role("status")).not_to_have_text(f"{every} of {every}")
    rows = shown(page)
    assert counted(page) == (rows.count(), every)
    assert 0 < rows.count() < every
    assert all("reward" in (row.text_content() or "").lower() for row in rows.all())
    search.press_sequentially(" zzz")
    expect(page.get_by_text("Nothing here matches.")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text(f"0 of {every}")
    search.clear()
    expect(rows).to_have_count(every)
    expect(page.get_by_text("Nothing here matches.")).to_be_hidden()


def test_episodes_are_filtered_by_topic(page: Page) -> None:
    page.goto("/episodes")
    every = shown(page).count()
    page.get_by_role("combobox", name="Topic").select_option("sycophancy")
    expect(page.get_by_role("status")).not_to_have_text(f"{every} of {every}")
    assert 0 < shown(page).count() < every
    assert all("sycophancy" in (row.locator(".about").text_content() or "") for row in shown(page).all())
    assert counted(page) == (shown(page).count(), every)


def test_episodes_are_filtered_from_one_day_to_another(page: Page) -> None:
    page.goto("/episodes")
    every = shown(page).count()
    page.get_by_label("From").fill("2026-05-02")
    page.get_by_label("To", exact=True).fill("2026-05-03")
    expect(page.get_by_role("status")).to_have_text(re.compile(rf"^\d of {every}$"))
    days = [row.locator("time").get_attribute("datetime") for row in shown(page).all()]
    assert set(days) == {"2026-05-02", "2026-05-03"}
    assert counted(page) == (len(days), every)


def test_a_filter_outlives_a_reload_and_can_be_taken_off(page: Page) -> None:
    page.goto("/episodes")
    every = shown(page).count()
    page.get_by_role("searchbox", name="Search").fill("reward")
    page.get_by_role("combobox", name="Topic").select_option("reward hacking")
    expect(page.get_by_role("status")).not_to_have_text(f"{every} of {every}")
    entries, count = shown(page).all_text_contents(), page.get_by_role("status").text_content()
    page.reload()
    assert shown(page).all_text_contents() == entries
    assert page.get_by_role("status").text_content() == count
    expect(page.get_by_role("searchbox", name="Search")).to_have_value("reward")
    page.get_by_role("searchbox", name="Search").clear()
    page.get_by_role("combobox", name="Topic").select_option("any")
    expect(shown(page)).to_have_count(every)


def test_without_a_script_the_same_filter_shows_the_same(open_context: Contexts, site: str) -> None:
    found = []
    for options in ({}, NO_SCRIPT):
        page = open_context(base_url=site, **options).new_page()
        page.goto("/episodes")
        page.get_by_role("searchbox", name="Search").fill("reward")
        page.get_by_role("combobox", name="Topic").select_option("reward hacking")
        page.get_by_label("From").fill("2026-05-01")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("status")).to_have_text(re.compile(r"^\d of \d\d$"))
        found.append((shown(page).all_text_contents(), counted(page)))
    assert found[0][0]
    assert found[0] == found[1]


def test_a_page_of_the_filtered_list_is_come_back_to(page: Page) -> None:
    page.goto("/episodes")
    page.get_by_role("searchbox", name="Search").fill("E026")
    shown(page).get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("What RL Actually Does")
    page.go_back()
    expect(shown(page)).to_have_count(1)
    expect(page.get_by_role("searchbox", name="Search")).to_have_value("E026")


def test_an_episode_shows_its_summary_and_every_sentence_that_cites_it(page: Page, site: str) -> None:
    held = httpx.get(f"{site}/v1/episodes/E026").json()
    page.goto("/episodes/E026")
    text = one_line(page.locator(".prose").text_content())
    assert [s["text"] for s in held["sentences"] if one_line(s["text"]) not in text] == []
    rows = page.locator(".citing > li")
    assert rows.count() == len(held["cited_by"])
    assert [one_line(t) for t in rows.locator(".claim").all_text_contents()] == [
        one_line(s["text"]) for s in held["cited_by"]
    ]
    expect(
        page.get_by_role("heading", name=f"{len(held['cited_by'])} sentences of other texts cite it")
    ).to_be_visible()


def test_a_sentence_that_cites_an_episode_is_read_in_its_place(page: Page) -> None:
    page.goto("/episodes/E026")
    row = page.locator(".citing > li").last
    claim = one_line(row.locator(".claim").text_content())
    row.get_by_role("link", name="In its place").click()
    page.wait_for_url("**/documents/**")
    assert one_line(page.locator("mark").text_content()) == claim
    expect(page.locator("mark")).to_be_in_viewport()


def test_an_episode_is_asked_by_itself(page: Page) -> None:
    page.goto("/episodes/E026")
    page.get_by_role("searchbox", name="Ask E026").fill("What did it cost?")
    page.get_by_role("searchbox", name="Ask E026").press("Enter")
    expect(page.get_by_text("Only in episode E026")).to_be_visible()
    page.get_by_role("link", name="Ask everywhere").click()
    expect(page.get_by_text("Only in episode E026")).to_have_count(0)
    expect(page.get_by_role("searchbox", name="Your question")).to_have_value("What did it cost?")


def test_a_marker_leads_to_its_episode(page: Page) -> None:
    page.goto(REVIEW)
    marker = page.locator(".prose a.chip:visible").first
    episode = one_line(marker.text_content())
    marker.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(episode)


@pytest.mark.parametrize("kind", ["Concepts", "Reviews"])
def test_a_list_leads_to_its_documents(page: Page, kind: str) -> None:
    page.goto("/")
    navigation = page.get_by_role("navigation", name="Site")
    navigation.get_by_role("link", name=kind).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(kind)
    expect(navigation.get_by_role("link", name=kind)).to_have_attribute("aria-current", "page")
    entry = shown(page).last.get_by_role("link")
    title = one_line(entry.text_content())
    entry.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    assert one_line(page.locator(".prose").text_content())


def test_who_a_sentence_without_a_marker_is_attributed_to_is_shown_when_asked_for(page: Page, site: str) -> None:
    held = httpx.get(f"{site}/v1{REVIEW}").json()["sentences"]
    inherited = [s["episodes"] for s in held if s["attribution"] == "inherited"]
    page.goto(REVIEW)
    seen = page.locator(".attribution:visible").filter(has_text="carried over from the sentence")
    expect(seen).to_have_count(0)
    switch = page.get_by_role("checkbox", name="Show who the sentences without a marker are attributed to")
    switch.check()
    expect(seen).to_have_count(len(inherited))
    assert [row.get_by_role("link").all_text_contents() for row in seen.all()] == inherited
    switch.uncheck()
    expect(seen).to_have_count(0)


def test_the_map_has_a_dot_for_every_passage(page: Page, site: str) -> None:
    page.goto("/")
    page.get_by_role("link", name="A map of the corpus").click()
    passages = httpx.get(f"{site}/readyz").json()["index"]["passages"]
    chart = page.get_by_role("group", name=f"Map: {passages} passages")
    expect(chart).to_be_visible()
    expect(chart.locator(".group circle")).to_have_count(passages)


def test_a_question_lights_up_what_it_finds(page: Page) -> None:
    page.goto("/map")
    expect(page.locator(".lit")).to_have_count(0)
    page.get_by_role("searchbox", name="Light up what a question finds").fill("What does RL change?")
    page.get_by_role("button", name="Light up").click()
    found = page.locator(".passages li")
    expect(page.get_by_role("heading", name=f"{found.count()} passages found")).to_be_visible()
    ranks = page.locator(".map .rank").all_text_contents()
    assert sorted(map(int, ranks)) == list(range(1, found.count() + 1))
    best = page.locator(".map a").filter(has=page.locator(".rank", has_text=re.compile("^1$")))
    title = one_line(found.first.get_by_role("link").first.text_content())
    assert best.locator("title").text_content() == title
    page.get_by_role("link", name="Read the answer").click()
    expect(page.locator("summary .text").first).to_be_visible()


def test_a_dot_leads_to_its_passage(page: Page) -> None:
    page.goto("/map")
    place = page.evaluate(
        """() => {
            for (const dot of document.querySelectorAll(".group a")) {
                const box = dot.querySelector("circle").getBoundingClientRect();
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                if (y < innerHeight && document.elementFromPoint(x, y)?.closest("a") === dot)
                    return {x, y, title: dot.querySelector("title").textContent};
            }
        }"""
    )
    page.mouse.click(place["x"], place["y"])
    page.wait_for_url("**/documents/**")
    title, _, heading = place["title"].partition(" › ")
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    expect(page.locator("mark").first).to_be_in_viewport()
    if heading:
        expect(page.get_by_role("heading", name=heading.rpartition(" › ")[2])).to_be_visible()


@pytest.mark.parametrize("way", ["pointer", "keyboard"])
def test_a_topic_of_the_legend_dims_the_others(page: Page, way: str) -> None:
    page.goto("/map")
    topic = page.locator(".legend li").nth(1)
    opacities = "groups => groups.map(group => +getComputedStyle(group).opacity)"
    groups = page.locator(".map .group")
    assert set(groups.evaluate_all(opacities)) == {1}
    if way == "pointer":
        topic.hover()
    else:
        topic.get_by_role("link").focus()
    first, own, *others = groups.evaluate_all(opacities)
    assert own == 1
    assert max(first, *others) < 0.2
    if way == "pointer":
        page.mouse.move(0, 0)
    else:
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        page.get_by_role("searchbox").focus()
    assert set(groups.evaluate_all(opacities)) == {1}


def test_what_is_near_on_the_map_is_told_to_those_who_do_not_see_it(page: Page) -> None:
    page.goto("/map?q=What+does+RL+change%3F")
    assert page.locator("svg.map a[href]:not([aria-hidden='true'])").count() == 0
    expect(page.get_by_role("list").filter(has=page.locator(".excerpt"))).to_be_visible()
