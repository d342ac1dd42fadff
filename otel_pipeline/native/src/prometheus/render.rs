//! The page that a scraper reads, in text 0.0.4 or OpenMetrics 1.0.
//! Source: Prometheus "Exposition formats"; OpenMetrics 1.0.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::HashSet;

use super::escape::escaped_labels;
use super::exponential::Exponential;
use super::family::{Family, State};
use super::labels::push_escaped;
use super::names::{escaped_metric, is_plain_metric};
use super::number::{bound_text, push_count, push_seconds, push_value};
use super::series::{Exemplar, Kind, Scraper, Series};
use super::store::{Store, claims};
use super::value::{Histogram, Summary, Value};

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
/// With `utf8` names stand as they are, in quotes; without, those that need quotes are escaped.
pub fn render(
    store: &Store,
    format: Format,
    scraper: Option<usize>,
    own: &[u8],
    utf8: bool,
    capacity: usize,
) -> Vec<u8> {
    let mut page = Page {
        out: Vec::with_capacity(capacity + own.len()),
        openmetrics: format == Format::OpenMetrics,
        created: store.options.created_timestamps,
        timestamps: store.options.send_timestamps,
        scraper: scraper.and_then(|slot| store.scraper(slot)),
        overflow_labels: &store.room.overflow_labels,
        escapes: !utf8 && !store.options.strategy.escape,
        claimed: HashSet::new(),
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
    /// Names that need quotes are escaped; those on the page are held, since two may become the same.
    escapes: bool,
    claimed: HashSet<String>,
}

/// What the lines of a family have in common.
struct Head<'s> {
    family: &'s Family,
    name: Cow<'s, str>,
    /// Its name stands without quotes.
    plain: bool,
}

/// One series as it is shown now.
struct Shown<'s> {
    head: &'s Head<'s>,
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

    /// The family's name on this page; None where another has become the same.
    fn head<'f>(&mut self, family: &'f Family) -> Option<Head<'f>> {
        let name = match self.escapes {
            true => escaped_metric(&family.name),
            false => Cow::Borrowed(family.name.as_str()),
        };
        if self.escapes {
            let claims = claims(&name, family.kind);
            if claims.iter().any(|claim| self.claimed.contains(claim)) {
                return None;
            }
            self.claimed.extend(claims);
        }
        Some(Head {
            family,
            plain: is_plain_metric(&name),
            name,
        })
    }

    fn family(&mut self, family: &Family) {
        let Some(head) = self.head(family) else {
            return;
        };
        let mut state = family.lock();
        let State {
            series, overflow, ..
        } = &mut *state;
        let overflow_labels = self.overflow_labels;
        let all = series
            .iter_mut()
            .map(|(labels, series)| (labels.as_ref(), series))
            .chain(overflow.iter_mut().map(|series| (overflow_labels, series)));
        let mut headed = false;
        let mut escaped: HashSet<String> = HashSet::new();
        for (labels, series) in all.filter(|(_, series)| !series.stale) {
            let mut labels = Cow::Borrowed(labels);
            if self.escapes {
                labels = Cow::Owned(escaped_labels(&labels).into_owned());
                if !escaped.insert(labels.to_string()) {
                    continue;
                }
            }
            if !headed {
                self.header(&head);
                headed = true;
            }
            let zero = self.scraper.is_some_and(|scraper| series.show(scraper));
            self.series(&Shown {
                head: &head,
                labels: &labels,
                series,
                zero,
            });
        }
    }

    fn header(&mut self, head: &Head<'_>) {
        let family = head.family;
        let (kind, suffix) = match family.kind {
            Kind::Counter if !self.openmetrics => ("counter", family.suffix),
            Kind::Counter if family.suffix.is_empty() => ("unknown", ""),
            Kind::Counter => ("counter", ""),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram | Kind::Exponential => ("histogram", ""),
            Kind::Summary => ("summary", ""),
        };
        let mut name = String::with_capacity(head.name.len() + suffix.len());
        match head.plain {
            true => name.extend([&head.name, suffix]),
            false => {
                name.push('"');
                push_escaped(&mut name, &head.name);
                name.extend([suffix, "\""]);
            }
        }
        if !family.help.is_empty() {
            self.push(&["# HELP ", &name, " "]);
            self.help(&family.help);
        }
        self.push(&["# TYPE ", &name, " ", kind, "\n"]);
        if self.openmetrics && !family.unit.is_empty() {
            self.push(&["# UNIT ", &name, " ", &family.unit, "\n"]);
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

    fn series(&mut self, shown: &Shown<'_>) {
        let family = shown.head.family;
        let counter = family.kind == Kind::Counter;
        match &shown.series.point.value {
            Value::Histogram(histogram) => self.histogram(shown, histogram),
            Value::Exponential(exponential) => self.exponential(shown, exponential),
            Value::Summary(summary) => self.summary(shown, summary),
            Value::Number(value) => {
                self.sample(shown, family.suffix, None);
                push_value(&mut self.out, if shown.zero { 0.0 } else { *value });
                let exemplar = shown.series.exemplar(0);
                self.end(shown, exemplar.filter(|_| !family.suffix.is_empty()));
            }
        }
        let start_ns = shown.series.point.start_ns;
        let may_tell = family.kind != Kind::Gauge && !(counter && family.suffix.is_empty());
        if self.openmetrics && self.created && may_tell && start_ns != 0 {
            self.sample(shown, "_created", None);
            push_seconds(&mut self.out, start_ns);
            self.end(shown, None);
        }
    }

    fn bucket(&mut self, shown: &Shown<'_>, le: &str, count: u64, exemplar: Option<&Exemplar>) {
        self.sample(shown, "_bucket", Some(("le", le)));
        push_count(&mut self.out, if shown.zero { 0 } else { count });
        self.end(shown, exemplar);
    }

    fn histogram(&mut self, shown: &Shown<'_>, histogram: &Histogram) {
        let bounds = if self.openmetrics {
            &histogram.bounds.openmetrics
        } else {
            &histogram.bounds.text
        };
        let mut total = 0u64;
        for (index, (le, count)) in bounds.iter().zip(&histogram.counts).enumerate() {
            total = total.saturating_add(*count);
            self.bucket(shown, le, total, shown.series.exemplar(index));
        }
        let negative = histogram.bounds.values.first().is_some_and(|b| *b < 0.0);
        self.sum_and_count(shown, histogram.sum, histogram.count, negative);
    }

    /// Classic buckets: all bounds between the lowest and the highest bucket.
    fn exponential(&mut self, shown: &Shown<'_>, histogram: &Exponential) {
        let mut below = f64::NEG_INFINITY;
        let exemplar = |below: f64, bound: f64| {
            let fits = |one: &&Exemplar| one.value > below && one.value <= bound;
            let inside = shown.series.exemplars().filter(fits);
            inside.max_by_key(|exemplar| exemplar.time_ns)
        };
        for (bound, count) in histogram.classic() {
            let le = bound_text(bound, self.openmetrics);
            self.bucket(shown, &le, count, exemplar(below, bound));
            below = bound;
        }
        self.bucket(
            shown,
            "+Inf",
            histogram.count,
            exemplar(below, f64::INFINITY),
        );
        let negative = !histogram.negative.counts.is_empty();
        self.sum_and_count(shown, histogram.sum, histogram.count, negative);
    }

    fn summary(&mut self, shown: &Shown<'_>, summary: &Summary) {
        for (quantile, value) in summary.quantiles.iter().filter(|_| !shown.zero) {
            if self.openmetrics && *value < 0.0 {
                continue;
            }
            let quantile = bound_text(*quantile, self.openmetrics);
            self.sample(shown, "", Some(("quantile", &quantile)));
            push_value(&mut self.out, *value);
            self.end(shown, None);
        }
        self.sum_and_count(shown, Some(summary.sum), summary.count, false);
    }

    /// OpenMetrics forbids a sum that is no counter, and then the count with it ("Histogram").
    fn sum_and_count(&mut self, shown: &Shown<'_>, sum: Option<f64>, count: u64, negative: bool) {
        let may_show = |sum: &f64| !self.openmetrics || (*sum >= 0.0 && !negative);
        let sum = sum.filter(may_show);
        if let Some(sum) = sum {
            self.sample(shown, "_sum", None);
            push_value(&mut self.out, if shown.zero { 0.0 } else { sum });
            self.end(shown, None);
        }
        if sum.is_some() || !self.openmetrics {
            self.sample(shown, "_count", None);
            push_count(&mut self.out, if shown.zero { 0 } else { count });
            self.end(shown, None);
        }
    }

    /// `name_suffix{labels} `, the braces only where there are labels; `{"na.me_suffix",labels} ` for a name in quotes.
    fn sample(&mut self, shown: &Shown<'_>, suffix: &str, extra: Option<(&str, &str)>) {
        let (head, labels) = (shown.head, shown.labels);
        if head.plain {
            self.push(&[&head.name, suffix]);
            if labels.is_empty() && extra.is_none() {
                self.out.push(b' ');
                return;
            }
            self.push(&["{", labels]);
        } else {
            let mut name = String::with_capacity(head.name.len());
            push_escaped(&mut name, &head.name);
            let comma = if labels.is_empty() { "" } else { "," };
            self.push(&["{\"", &name, suffix, "\"", comma, labels]);
        }
        if let Some((name, value)) = extra {
            let comma = if labels.is_empty() && head.plain {
                ""
            } else {
                ","
            };
            self.push(&[comma, name, "=\"", value, "\""]);
        }
        self.push(&["} "]);
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
            let labels = match self.escapes {
                true => escaped_labels(labels),
                false => Cow::Borrowed(labels),
            };
            match labels.as_ref() {
                "" => self.push(&["target_info 1\n"]),
                labels => self.push(&["target_info{", labels, "} 1\n"]),
            }
        });
    }
}
