//! What is remembered of one target between scrapes: when its series began, and which of them were on its last page.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use indexmap::IndexMap;

use super::sample::Kind;

/// A series that is not on the page is remembered for as many scrapes.
const REMEMBERED_SCRAPES: u64 = 20;
/// With more series than these only those of the last page are remembered.
const MAX_SERIES: usize = 100_000;

struct Series {
    start_ns: u64,
    value: f64,
    scrape: u64,
    /// It was handed on as present, and its absence is still to be told.
    live: bool,
}

/// What the series of one metric have in common: all but the attributes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Metric {
    /// The encoded scope, and its schema URL.
    pub scope: Vec<u8>,
    pub schema_url: String,
    pub name: String,
    pub unit: String,
    pub kind: Kind,
}

/// What comes from one job and instance.
#[derive(Default)]
struct Group {
    /// The encoded resource, as it was last.
    resource: Vec<u8>,
    metrics: IndexMap<Metric, HashMap<Vec<u8>, Series>>,
}

/// A series of the first scrape may be of any age: its start is unknown (0) unless the page tells it. One that comes
/// later, or falls, began after the scrape before.
#[derive(Default)]
pub struct Known {
    groups: HashMap<(String, String), Group>,
    scrape: u64,
    before_ns: u64,
}

/// One series as it is on the page.
pub struct Seen {
    /// Its attributes, as they are written.
    pub attributes: Vec<u8>,
    /// What never falls while the series goes on; None for what may.
    pub total: Option<f64>,
    /// What the page says, or 0.
    pub created_ns: u64,
    pub time_ns: u64,
    /// The time stands on the page: then its absence says nothing, as in Prometheus.
    pub timed: bool,
}

/// The series of one metric that have gone, to be told as such.
pub struct Gone<'k> {
    pub resource: &'k [u8],
    pub metric: &'k Metric,
    /// Their attributes.
    pub points: Vec<&'k [u8]>,
}

impl Known {
    /// Notes the resource of a group, for what may go from it.
    pub fn set_resource(&mut self, group: &(String, String), resource: &[u8]) {
        let known = self.groups.entry(group.clone()).or_default();
        if known.resource != resource {
            known.resource = resource.to_vec();
        }
    }

    /// Notes a series that is on the page; gives its start time.
    pub fn see(&mut self, group: &(String, String), metric: &Metric, seen: Seen) -> u64 {
        let (scrape, before_ns) = (self.scrape, self.before_ns);
        let Some(group) = self.groups.get_mut(group) else {
            return 0; // not reached: its resource is noted first
        };
        let metric = match group.metrics.get_index_of(metric) {
            Some(at) => at,
            None => group.metrics.insert_full(metric.clone(), HashMap::new()).0,
        };
        let Some((_, series)) = group.metrics.get_index_mut(metric) else {
            return 0;
        };
        let start_ns = match seen.total {
            Some(total) => start(series.get(&seen.attributes), total, &seen, before_ns),
            None => 0,
        };
        let now = Series {
            start_ns,
            value: seen.total.unwrap_or_default(),
            scrape,
            live: !seen.timed,
        };
        series.insert(seen.attributes, now);
        start_ns.min(seen.time_ns)
    }

    /// The series that the page before had and this one has not, each told once.
    pub fn gone(&mut self) -> Vec<Gone<'_>> {
        let scrape = self.scrape;
        let mut found = Vec::new();
        for group in self.groups.values_mut() {
            let resource = group.resource.as_slice();
            for (metric, series) in &mut group.metrics {
                let mut points = Vec::new();
                for (attributes, series) in series {
                    if series.live && series.scrape < scrape {
                        series.live = false;
                        points.push(attributes.as_slice());
                    }
                }
                if !points.is_empty() {
                    found.push(Gone {
                        resource,
                        metric,
                        points,
                    });
                }
            }
        }
        found
    }

    /// To be called when a page has been taken in.
    pub fn scraped(&mut self, now_ns: u64) {
        let scrape = self.scrape;
        let oldest = scrape.saturating_sub(REMEMBERED_SCRAPES);
        let metrics = |group: &Group| group.metrics.values().map(HashMap::len).sum::<usize>();
        let crowded = self.groups.values().map(metrics).sum::<usize>() > MAX_SERIES;
        for group in self.groups.values_mut() {
            group.metrics.retain(|metric, series| {
                let oldest = match crowded || !metric.kind.is_cumulative() {
                    true => scrape,
                    false => oldest,
                };
                series.retain(|_, series| series.scrape >= oldest);
                !series.is_empty()
            });
        }
        self.groups.retain(|_, group| !group.metrics.is_empty());
        self.scrape += 1;
        self.before_ns = now_ns;
    }
}

fn start(known: Option<&Series>, total: f64, seen: &Seen, before_ns: u64) -> u64 {
    let fell = known.is_some_and(|known| total < known.value);
    let start_ns = match known {
        Some(known) if !fell => known.start_ns,
        _ => before_ns,
    };
    match seen.created_ns {
        created_ns if created_ns == 0 || created_ns > seen.time_ns => start_ns,
        created_ns if fell => created_ns.max(start_ns),
        created_ns => created_ns,
    }
}
