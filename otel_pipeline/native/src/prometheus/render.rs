//! The page that a scraper reads, in text 0.0.4 or OpenMetrics 1.0.
//! Source: Prometheus "Exposition formats"; OpenMetrics 1.0.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::family::{Family, State};
use super::labels::push_escaped;
use super::number::{push_count, push_seconds, push_value};
use super::series::{Exemplar, Histogram, Kind, Scraper, Series, Value};
use super::store::{Store, claims};

/// The two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "openmetrics" => Some(Self::OpenMetrics),
            _ => None,
        }
    }
}

/// Renders the whole store after `own`, the page of the gateway itself (without `# EOF`).
///
/// `scraper` is the slot of a scraper that is shown 0 first, and remembered; None sees true values and changes nothing.
pub fn render(
    store: &Store,
    format: Format,
    scraper: Option<usize>,
    own: &[u8],
    capacity: usize,
) -> Vec<u8> {
    let mut page = Page {
        out: Vec::with_capacity(capacity + own.len()),
        openmetrics: format == Format::OpenMetrics,
        created: store.options.created_timestamps,
        timestamps: store.options.send_timestamps,
        scraper: scraper.and_then(|slot| store.scraper(slot)),
        overflow_labels: &store.room.overflow_labels,
    };
    page.out.extend_from_slice(own);
    for family in store.families() {
        page.family(&family);
    }
    if !store.targets_are_own() {
        page.targets(store);
    }
    if page.openmetrics {
        page.out.extend_from_slice(b"# EOF\n");
    }
    page.out
}

/// The names that the families of a page claim, from its TYPE lines.
pub fn page_names(page: &[u8]) -> HashSet<String> {
    let mut names = HashSet::new();
    for line in page.split(|byte| *byte == b'\n') {
        let Some((name, kind)) = type_line(line) else {
            continue;
        };
        let kind = match kind {
            "counter" => Kind::Counter,
            "histogram" | "summary" => Kind::Histogram,
            _ => Kind::Gauge,
        };
        let family = match kind {
            Kind::Counter => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        names.extend(claims(family, kind));
    }
    names
}

fn type_line(line: &[u8]) -> Option<(&str, &str)> {
    let line = std::str::from_utf8(line.strip_prefix(b"# TYPE ")?).ok()?;
    line.split_once(' ')
}

struct Page<'s> {
    out: Vec<u8>,
    openmetrics: bool,
    created: bool,
    timestamps: bool,
    scraper: Option<Scraper>,
    overflow_labels: &'s str,
}

/// One series as it is shown now.
struct Shown<'s> {
    labels: &'s str,
    series: &'s Series,
    /// Shown as 0, since the scraper sees it for the first time.
    zero: bool,
}

impl Page<'_> {
    fn push(&mut self, parts: &[&str]) {
        for part in parts {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    fn family(&mut self, family: &Family) {
        let mut state = family.lock();
        let State {
            series, overflow, ..
        } = &mut *state;
        let overflow_labels = self.overflow_labels;
        let all = series
            .iter_mut()
            .map(|(labels, series)| (labels.as_ref(), series))
            .chain(
                overflow
                    .iter_mut()
                    .map(|o| (overflow_labels, &mut o.series)),
            );
        let mut headed = false;
        for (labels, series) in all.filter(|(_, series)| !series.stale) {
            if !headed {
                self.header(family);
                headed = true;
            }
            let zero = self.scraper.is_some_and(|scraper| series.show(scraper));
            self.series(
                family,
                &Shown {
                    labels,
                    series,
                    zero,
                },
            );
        }
    }

    fn header(&mut self, family: &Family) {
        let (kind, suffix) = match family.kind {
            Kind::Counter if self.openmetrics => ("counter", ""),
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
        };
        if !family.help.is_empty() {
            self.push(&["# HELP ", &family.name, suffix, " "]);
            self.help(&family.help);
        }
        self.push(&["# TYPE ", &family.name, suffix, " ", kind, "\n"]);
        if self.openmetrics && !family.unit.is_empty() {
            self.push(&["# UNIT ", &family.name, " ", &family.unit, "\n"]);
        }
    }

    /// Escapes as in a label value; text 0.0.4 leaves quotes as they are.
    fn help(&mut self, help: &str) {
        let mut escaped = String::with_capacity(help.len());
        if self.openmetrics {
            push_escaped(&mut escaped, help);
        } else {
            for (index, part) in help.split('"').enumerate() {
                if index > 0 {
                    escaped.push('"');
                }
                push_escaped(&mut escaped, part);
            }
        }
        self.push(&[&escaped, "\n"]);
    }

    fn series(&mut self, family: &Family, shown: &Shown<'_>) {
        let name = family.name.as_str();
        match &shown.series.point.value {
            Value::Histogram(histogram) => self.histogram(name, shown, histogram),
            Value::Number(value) => {
                let suffix = match family.kind {
                    Kind::Counter => "_total",
                    _ => "",
                };
                self.sample(name, suffix, shown.labels);
                push_value(&mut self.out, if shown.zero { 0.0 } else { *value });
                self.end(shown, shown.series.exemplar(0));
            }
        }
        let start_ns = shown.series.point.start_ns;
        if self.openmetrics && self.created && family.kind != Kind::Gauge && start_ns != 0 {
            self.sample(name, "_created", shown.labels);
            push_seconds(&mut self.out, start_ns);
            self.end(shown, None);
        }
    }

    fn histogram(&mut self, name: &str, shown: &Shown<'_>, histogram: &Histogram) {
        let bounds = if self.openmetrics {
            &histogram.bounds.openmetrics
        } else {
            &histogram.bounds.text
        };
        let comma = if shown.labels.is_empty() { "" } else { "," };
        let mut total = 0u64;
        for (index, (le, count)) in bounds.iter().zip(&histogram.counts).enumerate() {
            total = total.saturating_add(*count);
            self.push(&[name, "_bucket{", shown.labels, comma, "le=\"", le, "\"} "]);
            push_count(&mut self.out, if shown.zero { 0 } else { total });
            self.end(shown, shown.series.exemplar(index));
        }
        let sum = histogram
            .sum
            .filter(|sum| self.may_show_sum(histogram, *sum));
        if let Some(sum) = sum {
            self.sample(name, "_sum", shown.labels);
            push_value(&mut self.out, if shown.zero { 0.0 } else { sum });
            self.end(shown, None);
        }
        if sum.is_some() || !self.openmetrics {
            self.sample(name, "_count", shown.labels);
            let count = if shown.zero { 0 } else { histogram.count };
            push_count(&mut self.out, count);
            self.end(shown, None);
        }
    }

    /// OpenMetrics forbids a sum that is no counter, and then the count with it ("Histogram").
    fn may_show_sum(&self, histogram: &Histogram, sum: f64) -> bool {
        let negative_bounds = histogram.bounds.values.first().is_some_and(|b| *b < 0.0);
        !self.openmetrics || (sum >= 0.0 && !negative_bounds)
    }

    /// `name_suffix{labels} `, the braces only where there are labels.
    fn sample(&mut self, name: &str, suffix: &str, labels: &str) {
        if labels.is_empty() {
            self.push(&[name, suffix, " "]);
        } else {
            self.push(&[name, suffix, "{", labels, "} "]);
        }
    }

    /// Timestamp, exemplar and the end of the line. A first 0 has the time of the series' start, before its value's.
    fn end(&mut self, shown: &Shown<'_>, exemplar: Option<&Exemplar>) {
        if self.timestamps {
            let point = &shown.series.point;
            let time_ns = if shown.zero {
                point.start_ns
            } else {
                point.time_ns
            };
            self.out.push(b' ');
            if self.openmetrics {
                push_seconds(&mut self.out, time_ns);
            } else {
                push_count(&mut self.out, time_ns / 1_000_000);
            }
        }
        if let Some(exemplar) = exemplar.filter(|_| self.openmetrics && !shown.zero) {
            self.push(&[" # {", &exemplar.text, "} "]);
            push_value(&mut self.out, exemplar.value);
            if exemplar.time_ns != 0 {
                self.out.push(b' ');
                push_seconds(&mut self.out, exemplar.time_ns);
            }
        }
        self.out.push(b'\n');
    }

    /// One `target_info` for each resource that named its service.
    fn targets(&mut self, store: &Store) {
        let mut headed = false;
        store.for_each_target(|labels| {
            if !headed {
                let (name, kind) = match self.openmetrics {
                    true => ("target", "info"),
                    false => ("target_info", "gauge"),
                };
                self.push(&["# HELP ", name, " Target metadata\n"]);
                self.push(&["# TYPE ", name, " ", kind, "\n"]);
                headed = true;
            }
            self.sample("target_info", "", labels);
            self.out.extend_from_slice(b"1\n");
        });
    }
}
