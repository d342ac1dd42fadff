"""Which slot a scraper has."""

from otel_pipeline.prometheus.scrapers import MAX_SCRAPERS, Scrapers


def test_a_scraper_keeps_its_slot_and_is_registered_once() -> None:
    registered: list[int] = []
    scrapers = Scrapers(lambda slot, _name: registered.append(slot))
    first, second = scrapers.slot(("10.0.0.1", "Prometheus")), scrapers.slot(("10.0.0.2", "Prometheus"))
    assert scrapers.slot(("10.0.0.1", "Prometheus")) == first
    assert registered == [first, second] == [0, 1]


def test_a_new_scraper_takes_the_slot_of_the_one_that_scraped_longest_ago() -> None:
    registered: list[int] = []
    scrapers = Scrapers(lambda slot, _name: registered.append(slot))
    for number in range(MAX_SCRAPERS):
        scrapers.slot((str(number), ""))
    scrapers.slot(("0", ""))
    assert scrapers.slot(("new", "")) == 1
    assert scrapers.slot(("0", "")) == 0
    assert registered[-1] == 1
    assert max(registered) == MAX_SCRAPERS - 1
