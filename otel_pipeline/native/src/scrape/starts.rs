//! When the cumulative series of one target began, as far as its pages tell.
#![forbid(unsafe_code)]

use std::collections::HashMap;

/// A series that is not on the page is remembered for as many scrapes.
const REMEMBERED_SCRAPES: u64 = 20;

struct Series {
    start_ns: u64,
    value: f64,
    scrape: u64,
}

/// A series of the first scrape may be of any age: its start is unknown (0) unless the page tells it. One that comes
/// later, or falls, began after the scrape before.
#[derive(Default)]
pub struct Starts {
    series: HashMap<Vec<u8>, Series>,
    scrape: u64,
    before_ns: u64,
}

impl Starts {
    /// The start time of a series with the value it has now; `created_ns` is what the page says, or 0.
    pub fn start(&mut self, key: Vec<u8>, value: f64, created_ns: u64, time_ns: u64) -> u64 {
        let known = self.series.get(&key);
        let fell = known.is_some_and(|known| value < known.value);
        let mut start_ns = match known {
            Some(known) if !fell => known.start_ns,
            _ => self.before_ns,
        };
        if created_ns > 0 && created_ns <= time_ns {
            start_ns = if fell {
                created_ns.max(start_ns)
            } else {
                created_ns
            };
        }
        let scrape = self.scrape;
        let series = Series {
            start_ns,
            value,
            scrape,
        };
        self.series.insert(key, series);
        start_ns.min(time_ns)
    }

    /// To be called when a page has been taken in.
    pub fn scraped(&mut self, now_ns: u64) {
        let oldest = self.scrape.saturating_sub(REMEMBERED_SCRAPES);
        self.series.retain(|_, series| series.scrape >= oldest);
        self.scrape += 1;
        self.before_ns = now_ns;
    }
}
