//! Series as an OTLP metrics request: cumulative, without resource and scope, so that no labels come from these.
//! Source: opentelemetry-proto 1.11, `metrics.proto`.
#![forbid(unsafe_code)]

use super::intern::{ABSENT, Interner, Symbol};
use super::labels::Label;
use super::plan::Instrument;
use super::series::{Exemplar, Family, Series};
use crate::otlp::{
    RESOURCE_ITEMS, SCOPE_ITEMS, any, exemplar, histogram_point, key_value, metric, number_point,
    point,
};
use crate::wire::{
    put_bytes_field, put_fixed64_field, put_message, put_tag, put_varint, put_varint_field,
};

/// The attribute of the series that takes what is over the limit. Source: specification/metrics/sdk.md "Overflow attribute".
const OVERFLOW: &str = "otel.metric.overflow";

/// `ScopeMetrics.metrics`.
const METRICS: u32 = 2;
const CUMULATIVE: u64 = 2;

/// Encodes data points of many metrics.
pub struct Encoder<'a> {
    pub interner: &'a Interner,
    pub exemplar_names: &'a [String],
    pub unix_ns: u64,
}

impl Encoder<'_> {
    /// The series at `changed` of each family as one request, and the number of points in it.
    pub fn request(&self, families: &[Family], changed: &[Vec<usize>]) -> (Vec<u8>, u64) {
        let mut out = Vec::new();
        put_message(&mut out, RESOURCE_ITEMS, |out| {
            put_message(out, SCOPE_ITEMS, |out| {
                for (family, changed) in families.iter().zip(changed) {
                    if !changed.is_empty() {
                        put_message(out, METRICS, |out| self.metric(family, changed, out));
                    }
                }
            });
        });
        (
            out,
            changed.iter().map(|changed| changed.len() as u64).sum(),
        )
    }

    fn metric(&self, family: &Family, changed: &[usize], out: &mut Vec<u8>) {
        let plan = &family.plan;
        put_bytes_field(out, metric::NAME, plan.name.as_bytes());
        put_bytes_field(out, metric::DESCRIPTION, plan.description.as_bytes());
        put_bytes_field(out, metric::UNIT, plan.unit.as_bytes());
        let data = match plan.instrument {
            Instrument::Gauge | Instrument::Rows => metric::GAUGE,
            Instrument::Counter | Instrument::UpDownCounter => metric::SUM,
            Instrument::Histogram => metric::HISTOGRAM,
        };
        put_message(out, data, |out| {
            for series in changed.iter().map(|at| &family.series[*at]) {
                put_message(out, metric::DATA_POINTS, |out| {
                    self.point(family, series, out)
                });
            }
            if plan.instrument != Instrument::Gauge {
                put_varint_field(out, metric::TEMPORALITY, CUMULATIVE);
            }
            if plan.instrument == Instrument::Counter {
                put_varint_field(out, metric::MONOTONIC, 1);
            }
        });
    }

    fn point(&self, family: &Family, series: &Series, out: &mut Vec<u8>) {
        if family.plan.instrument != Instrument::Gauge {
            put_fixed64_field(out, point::START_TIME, series.start_unix_ns);
        }
        let time_ns = self.unix_ns.max(series.start_unix_ns);
        put_fixed64_field(out, point::TIME, time_ns);
        match family.plan.instrument {
            Instrument::Histogram => self.histogram_point(family, series, out),
            _ => self.number_point(family, series, out),
        }
    }

    fn number_point(&self, family: &Family, series: &Series, out: &mut Vec<u8>) {
        if family.is_whole {
            put_fixed64_field(out, number_point::INT, series.count);
        } else {
            put_double(out, number_point::DOUBLE, family.sum(series));
        }
        self.labels(&family.labels, series, number_point::ATTRIBUTES, out);
        self.exemplars(family, series, number_point::EXEMPLARS, out);
    }

    fn histogram_point(&self, family: &Family, series: &Series, out: &mut Vec<u8>) {
        put_fixed64_field(out, histogram_point::COUNT, series.count);
        put_double(out, histogram_point::SUM, family.sum(series));
        let counts = series.buckets.iter().copied();
        put_packed(out, histogram_point::BUCKET_COUNTS, counts);
        let bounds = family.plan.buckets.iter().map(|bound| bound.to_bits());
        put_packed(out, histogram_point::EXPLICIT_BOUNDS, bounds);
        self.labels(&family.labels, series, histogram_point::ATTRIBUTES, out);
        self.exemplars(family, series, histogram_point::EXEMPLARS, out);
    }

    fn labels(&self, labels: &[Label], series: &Series, field: u32, out: &mut Vec<u8>) {
        let Some(values) = &series.labels else {
            return put_attribute(out, field, OVERFLOW, |out| {
                put_varint_field(out, any::BOOL, 1)
            });
        };
        for (label, value) in labels.iter().zip(values.iter()) {
            self.text_attribute(field, &label.name, *value, out);
        }
    }

    fn text_attribute(&self, field: u32, name: &str, value: Symbol, out: &mut Vec<u8>) {
        if value != ABSENT {
            let text = self.interner.text(value).as_bytes();
            put_attribute(out, field, name, |out| {
                put_bytes_field(out, any::STRING, text)
            });
        }
    }

    /// No time at all would read as 1970.
    fn time_or_now(&self, time_ns: u64) -> u64 {
        match time_ns {
            0 => self.unix_ns,
            time_ns => time_ns,
        }
    }

    /// The latest exemplars, as many as the plan allows.
    fn exemplars(&self, family: &Family, series: &Series, field: u32, out: &mut Vec<u8>) {
        let mut latest: Vec<&Exemplar> = series.exemplars.iter().collect();
        latest.sort_unstable_by_key(|exemplar| std::cmp::Reverse(exemplar.order));
        for exemplar in latest.into_iter().take(family.plan.max_exemplars) {
            let seen = &exemplar.seen;
            put_message(out, field, |out| {
                put_fixed64_field(out, exemplar::TIME, self.time_or_now(seen.time_ns));
                put_double(out, exemplar::DOUBLE, exemplar.value);
                put_bytes_field(out, exemplar::SPAN_ID, &seen.span_id.to_be_bytes());
                put_bytes_field(out, exemplar::TRACE_ID, &seen.trace_id.to_be_bytes());
                for (name, value) in self.exemplar_names.iter().zip(seen.attributes) {
                    self.text_attribute(exemplar::FILTERED_ATTRIBUTES, name, value, out);
                }
            });
        }
    }
}

fn put_attribute(out: &mut Vec<u8>, field: u32, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    put_message(out, field, |out| {
        put_bytes_field(out, key_value::KEY, name.as_bytes());
        put_message(out, key_value::VALUE, value);
    });
}

fn put_double(out: &mut Vec<u8>, field: u32, value: f64) {
    put_fixed64_field(out, field, value.to_bits());
}

fn put_packed(out: &mut Vec<u8>, field: u32, values: impl ExactSizeIterator<Item = u64>) {
    put_tag(out, field, 2);
    put_varint(out, values.len() as u64 * 8);
    values.for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}
