"""The saved review page, as it is found in the wild."""

import csv
from pathlib import Path

from rag.corpus.load import load
from rag.corpus.markers import sentences


def test_every_claim_of_the_page_is_found_and_attributed(shared: Path) -> None:
    (page,) = load(shared / "seed" / "review-page.txt")
    found = [(s.start, s.end, s.episodes, s.attribution) for s in sentences(page)]
    with (shared / "seed" / "attribution.tsv").open(encoding="utf-8", newline="") as file:
        wanted = [
            (int(r["start"]), int(r["end"]), tuple(r["episodes"].replace("-", "").split()), r["attribution"])
            for r in csv.DictReader(file, delimiter="\t")
        ]
    assert found == wanted


def test_the_items_of_a_saved_list_are_claims_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Animals\n\n* The fox hides 20 eggs\n* The wolf eats 9 kg E030\n")
    (page,) = load(path)
    assert [(s.text, s.episodes) for s in sentences(page)] == [
        ("The fox hides 20 eggs", ()),
        ("The wolf eats 9 kg E030", ("E030",)),
    ]
