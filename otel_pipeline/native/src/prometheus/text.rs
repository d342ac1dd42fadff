//! The page in text 0.0.4 or OpenMetrics 1.0.
//! Source: Prometheus "Exposition formats"; OpenMetrics 1.0.
#![forbid(unsafe_code)]

use super::exponential::Exponential;
use super::labels::push_escaped;
use super::number::{bound_text, push_count, push_seconds, push_value};
use super::page::{Head, Shown, Writer};
use super::series::{Exemplar, Kind};
use super::store::Options;
use super::value::{Histogram, Summary, Value};

/// A page as it grows.
pub struct Text<'s> {
    out: Vec<u8>,
    openmetrics: bool,
    options: &'s Options,
}

impl<'s> Text<'s> {
    /// A page that begins with `own`.
    pub fn new(options: &'s Options, openmetrics: bool, own: &[u8], capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity + own.len());
        out.extend_from_slice(own);
        Self {
            out,
            openmetrics,
            options,
        }
    }

    pub fn finish(mut self) -> Vec<u8> {
        if self.openmetrics {
            self.out.extend_from_slice(b"# EOF\n");
        }
        self.out
    }
}

impl Writer for Text<'_> {
    fn begin(&mut self, head: &Head<'_>) {
        let family = head.family;
        let (kind, suffix) = match family.kind {
            Kind::Counter if !self.openmetrics => ("counter", family.suffix),
            Kind::Counter if family.suffix.is_empty() => ("unknown", ""),
            Kind::Counter => ("counter", ""),
            Kind::Unknown if self.openmetrics => ("unknown", ""),
            Kind::Unknown => ("untyped", ""),
            Kind::Info if self.openmetrics && head.keeps_type && !family.suffix.is_empty() => {
                ("info", "")
            }
            Kind::StateSet if self.openmetrics && head.keeps_type => ("stateset", ""),
            Kind::Gauge | Kind::Info | Kind::StateSet => ("gauge", family.suffix),
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

    fn series(&mut self, shown: &Shown<'_>) {
        let family = shown.head.family;
        match &shown.series.point.value {
            Value::Histogram(histogram) => self.histogram(shown, histogram),
            Value::Exponential(exponential) => self.exponential(shown, exponential),
            Value::Summary(summary) => self.summary(shown, summary),
            Value::Number(value) => {
                self.sample(shown, family.suffix, None);
                push_value(&mut self.out, shown.number(*value));
                let exemplar = shown.exemplar(0);
                self.end_line(shown, exemplar.filter(|_| !family.suffix.is_empty()));
            }
        }
        let unknown = family.kind == Kind::Counter && family.suffix.is_empty();
        if !self.openmetrics || !self.options.created_timestamps || unknown {
            return;
        }
        if let Some(start_ns) = shown.start_ns() {
            self.sample(shown, "_created", None);
            push_seconds(&mut self.out, start_ns);
            self.end_line(shown, None);
        }
    }

    fn begin_targets(&mut self) {
        let (name, kind) = match self.openmetrics {
            true => ("target", "info"),
            false => ("target_info", "gauge"),
        };
        self.push(&["# HELP ", name, " Target metadata\n"]);
        self.push(&["# TYPE ", name, " ", kind, "\n"]);
    }

    fn target(&mut self, labels: &str) {
        match labels {
            "" => self.push(&["target_info 1\n"]),
            labels => self.push(&["target_info{", labels, "} 1\n"]),
        }
    }

    fn end(&mut self) {}
}

impl Text<'_> {
    fn push(&mut self, parts: &[&str]) {
        for part in parts {
            self.out.extend_from_slice(part.as_bytes());
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

    fn bucket(&mut self, shown: &Shown<'_>, le: &str, count: u64, exemplar: Option<&Exemplar>) {
        self.sample(shown, "_bucket", Some(("le", le)));
        push_count(&mut self.out, shown.count(count));
        self.end_line(shown, exemplar);
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
            self.bucket(shown, le, total, shown.exemplar(index));
        }
        let negative = histogram.bounds.values.first().is_some_and(|b| *b < 0.0);
        self.sum_and_count(shown, histogram.sum, histogram.count, negative);
    }

    /// Classic buckets: all bounds between the lowest and the highest bucket.
    fn exponential(&mut self, shown: &Shown<'_>, histogram: &Exponential) {
        let mut below = f64::NEG_INFINITY;
        for (bound, count) in histogram.classic() {
            let le = bound_text(bound, self.openmetrics);
            self.bucket(shown, &le, count, shown.exemplar_within(below, bound));
            below = bound;
        }
        self.bucket(
            shown,
            "+Inf",
            histogram.count,
            shown.exemplar_within(below, f64::INFINITY),
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
            self.end_line(shown, None);
        }
        self.sum_and_count(shown, Some(summary.sum), summary.count, false);
    }

    /// OpenMetrics forbids a sum that is no counter, and then the count with it ("Histogram").
    fn sum_and_count(&mut self, shown: &Shown<'_>, sum: Option<f64>, count: u64, negative: bool) {
        let may_show = |sum: &f64| !self.openmetrics || (*sum >= 0.0 && !negative);
        let sum = sum.filter(may_show);
        if let Some(sum) = sum {
            self.sample(shown, "_sum", None);
            push_value(&mut self.out, shown.number(sum));
            self.end_line(shown, None);
        }
        if sum.is_some() || !self.openmetrics {
            self.sample(shown, "_count", None);
            push_count(&mut self.out, shown.count(count));
            self.end_line(shown, None);
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

    /// Timestamp, exemplar and the end of the line.
    fn end_line(&mut self, shown: &Shown<'_>, exemplar: Option<&Exemplar>) {
        if self.options.send_timestamps {
            self.out.push(b' ');
            if self.openmetrics {
                push_seconds(&mut self.out, shown.time_ns());
            } else {
                push_count(&mut self.out, shown.time_ns() / 1_000_000);
            }
        }
        if let Some(exemplar) = exemplar.filter(|_| self.openmetrics) {
            self.push(&[" # {", &exemplar.text, "} "]);
            push_value(&mut self.out, exemplar.value);
            if exemplar.time_ns != 0 {
                self.out.push(b' ');
                push_seconds(&mut self.out, exemplar.time_ns);
            }
        }
        self.out.push(b'\n');
    }
}
