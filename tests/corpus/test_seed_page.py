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
