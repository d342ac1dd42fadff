//! What changed in the store since the last time, as OTLP requests for those to whom it is sent: cumulative or, of
//! counters and histograms, as increments, under the names and labels of the page, without resource and scope.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use super::collect_points::{Told, put_point, target_point};
use super::declared;
use super::family::{Family, Gone, State};
use super::room::{Collects, lock};
use super::series::{Collected, Kind, Point, Scraper, Series};
use super::store::Store;
use crate::otlp::{ITEMS, RESOURCE_ITEMS, SCOPE_ITEMS, any, key_value, metric};
use crate::wire::{put_bytes_field, put_message, put_varint_field};

/// Older times are told as this old: receivers refuse what is far behind, and all that came in the same request with
/// it. Prometheus does from an hour on.
const MAX_BEHIND_MS: u64 = 300_000;
/// The one who collects: known from the beginning, so that it sees every birth.
const COLLECTOR: Scraper = Scraper { bit: 1, since: 0 };
const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;
const NS_PER_MS: u64 = 1_000_000;

/// What to collect.
pub struct Collect {
    pub now_ns: u64,
    /// A series that did not change is told again after this time.
    pub repeat_ns: u64,
    /// How long before its first value a new counter is told to have been 0, at most.
    pub zero_ns: u64,
    /// Series, counted as lines of a page, after which a new request begins.
    pub max_samples: usize,
    pub targets: bool,
}

/// Every series that changed, or that was last told `repeat_ns` ago: requests, each with its number of data points.
pub fn collect(store: &Store, what: &Collect) -> Vec<(Vec<u8>, u64)> {
    let delta = store.room.collected == Collects::Delta;
    let mut requests = Requests::new(what.max_samples, delta.then(|| interval(store, what)));
    requests.targets(store, what);
    for family in store.families() {
        requests.family(&family, &store.room.overflow_labels, what);
    }
    requests.finish()
}

/// From when to when increments are: from the last collect to this one.
fn interval(store: &Store, what: &Collect) -> Interval {
    let start_ns = store.collected_ns.load(Ordering::Relaxed);
    let end_ms = (what.now_ns / NS_PER_MS).max(start_ns / NS_PER_MS + 1);
    let end_ns = end_ms * NS_PER_MS;
    store.collected_ns.store(end_ns, Ordering::Relaxed);
    Interval { start_ns, end_ns }
}

#[derive(Clone, Copy)]
struct Interval {
    start_ns: u64,
    end_ns: u64,
}

/// Requests while they are written.
struct Requests {
    /// None where counters and histograms are told as they are.
    increments: Option<Interval>,
    done: Vec<(Vec<u8>, u64)>,
    max_samples: usize,
    /// `ScopeMetrics.metrics` of the request that is open.
    metrics: Vec<u8>,
    /// The data points of the metric that is open.
    points: Vec<u8>,
    items: u64,
    samples: usize,
}

/// What the points of a metric have in common.
struct Header<'a> {
    name: String,
    help: &'a str,
    unit: &'a str,
    kind: Kind,
}

impl Header<'_> {
    fn data(&self) -> u32 {
        match self.kind {
            Kind::Gauge | Kind::Unknown | Kind::Info | Kind::StateSet => metric::GAUGE,
            Kind::Counter => metric::SUM,
            Kind::Histogram => metric::HISTOGRAM,
            Kind::Exponential => metric::EXPONENTIAL_HISTOGRAM,
            Kind::Summary => metric::SUMMARY,
        }
    }
}

impl Requests {
    fn new(max_samples: usize, increments: Option<Interval>) -> Self {
        Self {
            increments,
            done: Vec::new(),
            max_samples,
            metrics: Vec::new(),
            points: Vec::new(),
            items: 0,
            samples: 0,
        }
    }

    fn family(&mut self, family: &Family, overflow_labels: &str, what: &Collect) {
        let header = Header {
            name: format!("{}{}", family.name, family.suffix),
            help: &family.help,
            unit: &family.unit,
            kind: family.kind,
        };
        let mut state = family.lock();
        let State {
            series,
            overflow,
            gone,
            ..
        } = &mut *state;
        for Gone {
            labels,
            point,
            collected,
        } in gone.drain(..)
        {
            let again = match &*labels == overflow_labels {
                true => overflow.as_mut(),
                false => series.get_mut(&labels),
            };
            match again {
                Some(series) => series.collected.time_ms = collected.time_ms,
                None if self.increments_of(header.kind).is_some() => {}
                None => self.push(
                    &header,
                    &labels,
                    &Told::gone(&point, collected, what.now_ns),
                ),
            }
        }
        for (labels, series) in series.iter_mut() {
            self.series(&header, labels, series, what);
        }
        if let Some(series) = overflow {
            self.series(&header, overflow_labels, series, what);
        }
        self.end_metric(&header);
    }

    /// From when to when the increments of such a family are; None where it is told as it is.
    fn increments_of(&self, kind: Kind) -> Option<Interval> {
        let counts = !kind.is_gauge() && kind != Kind::Summary;
        self.increments.filter(|_| counts)
    }

    fn series(&mut self, header: &Header<'_>, labels: &str, series: &mut Series, what: &Collect) {
        if let Some(interval) = self.increments_of(header.kind) {
            return self.increment(header, labels, series, interval);
        }
        let Some(changed) = is_due(series, what) else {
            return;
        };
        let now_ms = what.now_ns / NS_PER_MS;
        let floor_ms = series.collected.time_ms + 1;
        let mut time_ms = match changed {
            true => {
                let earliest_ms = now_ms.saturating_sub(MAX_BEHIND_MS);
                (series.point.time_ns / NS_PER_MS).clamp(earliest_ms, now_ms)
            }
            false => now_ms,
        };
        time_ms = time_ms.max(floor_ms);
        if !series.stale && series.show(COLLECTOR) {
            let before_ms = time_ms.saturating_sub(what.zero_ns / NS_PER_MS);
            let start_ms = (series.point.start_ns / NS_PER_MS).max(before_ms);
            let zero_ms = start_ms.min(time_ms - 1).max(floor_ms);
            time_ms = time_ms.max(zero_ms + 1);
            self.push(header, labels, &Told::zero(&series.point, zero_ms));
        }
        self.push(header, labels, &Told::now(series, time_ms));
        let latest = series.exemplars().map(|exemplar| exemplar.time_ns).max();
        series.collected = Collected {
            time_ms,
            ingested_ns: series.ingested_ns,
            stale: series.stale,
            exemplar_ns: series.collected.exemplar_ns.max(latest.unwrap_or(0)),
        };
    }

    /// Tells what the series has gained since it was told last. Of a new one that is all it counted, where that was
    /// nothing when the store began.
    fn increment(
        &mut self,
        header: &Header<'_>,
        labels: &str,
        series: &mut Series,
        interval: Interval,
    ) {
        let whole = series.show(COLLECTOR);
        let now = &series.point.value;
        let gain = match &series.told {
            Some(told) => now.gain(told),
            None if whole => now.clone(),
            None => now.zero(),
        };
        if gain.is_empty() && series.told.is_some() {
            return;
        }
        series.told = Some(Box::new(now.clone()));
        if gain.is_empty() {
            return;
        }
        let gain = Point {
            start_ns: interval.start_ns,
            time_ns: interval.end_ns,
            untimed: false,
            value: gain,
        };
        let told = Told::gain(&gain, series, interval.end_ns / NS_PER_MS);
        self.push(header, labels, &told);
        let latest = series.exemplars().map(|exemplar| exemplar.time_ns).max();
        let known_ns = &mut series.collected.exemplar_ns;
        *known_ns = latest.unwrap_or(0).max(*known_ns);
    }

    fn push(&mut self, header: &Header<'_>, labels: &str, told: &Told<'_>) {
        let samples = told.point.value.lines();
        if self.items > 0 && self.samples + samples > self.max_samples {
            self.end_metric(header);
            self.end_request();
        }
        put_point(&mut self.points, labels, told);
        self.items += 1;
        self.samples += samples;
    }

    /// One `target_info` for each resource that named its service, and the end of those that are gone.
    fn targets(&mut self, store: &Store, what: &Collect) {
        if !what.targets {
            return;
        }
        let (point, now_ms) = (target_point(what.now_ns), what.now_ns / NS_PER_MS);
        let header = Header {
            name: "target_info".to_owned(),
            help: "Target metadata",
            unit: "",
            kind: Kind::Gauge,
        };
        let mut targets = lock(&store.targets);
        let mut gone = std::mem::take(&mut *lock(&store.gone_targets));
        gone.retain(|labels| targets.values().all(|target| target.labels != *labels));
        for labels in gone {
            self.push(&header, &labels, &Told::end(&point, now_ms));
        }
        for target in targets.values_mut() {
            target.told = true;
            self.push(&header, &target.labels, &Told::plain(&point, now_ms));
        }
        self.end_metric(&header);
    }

    fn end_metric(&mut self, header: &Header<'_>) {
        if self.points.is_empty() {
            return;
        }
        let points = &self.points;
        let temporality = match self.increments {
            Some(_) => DELTA,
            None => CUMULATIVE,
        };
        put_message(&mut self.metrics, ITEMS, |out| {
            put_bytes_field(out, metric::NAME, header.name.as_bytes());
            put_bytes_field(out, metric::DESCRIPTION, header.help.as_bytes());
            put_bytes_field(out, metric::UNIT, header.unit.as_bytes());
            put_message(out, header.data(), |out| {
                out.extend_from_slice(points);
                if !header.kind.is_gauge() && header.kind != Kind::Summary {
                    put_varint_field(out, metric::TEMPORALITY, temporality);
                }
                if header.kind == Kind::Counter {
                    put_varint_field(out, metric::MONOTONIC, 1);
                }
            });
            if let Some(word) = declared::word(header.kind) {
                put_message(out, metric::METADATA, |out| {
                    put_bytes_field(out, key_value::KEY, declared::KEY.as_bytes());
                    put_message(out, key_value::VALUE, |out| {
                        put_bytes_field(out, any::STRING, word.as_bytes());
                    });
                });
            }
        });
        self.points.clear();
    }

    fn end_request(&mut self) {
        if self.items == 0 {
            return;
        }
        let mut request = Vec::with_capacity(self.metrics.len() + 16);
        put_message(&mut request, RESOURCE_ITEMS, |out| {
            put_bytes_field(out, SCOPE_ITEMS, &self.metrics);
        });
        self.done.push((request, self.items));
        self.metrics.clear();
        (self.items, self.samples) = (0, 0);
    }

    fn finish(mut self) -> Vec<(Vec<u8>, u64)> {
        self.end_request();
        self.done
    }
}

/// Whether a series is to be told now, and whether it changed; None where neither.
fn is_due(series: &Series, what: &Collect) -> Option<bool> {
    let last = series.collected;
    if series.stale {
        return (last.time_ms != 0 && !last.stale).then_some(true);
    }
    let changed = last.time_ms == 0 || last.stale || last.ingested_ns != series.ingested_ns;
    let since_ns = what.now_ns.saturating_sub(last.time_ms * NS_PER_MS);
    (changed || since_ns >= what.repeat_ns).then_some(changed)
}

impl Series {
    /// It goes on from a store that was collected, which told no later moment than now, and all that it holds.
    pub fn was_collected(&mut self, collects: Collects, now_ns: u64) {
        match collects {
            Collects::Nothing => {}
            Collects::Cumulative => self.collected.time_ms = now_ns / NS_PER_MS,
            Collects::Delta => {
                self.collected.time_ms = now_ns / NS_PER_MS;
                self.told = Some(Box::new(self.point.value.clone()));
            }
        }
    }
}
