//! Writes the families of a page as one OTLP request, with the start times that are known of their series.
//! Source: OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility".
#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::Rules;
use super::page::{Family, Page, Point};
use super::sample::{Exemplar, Kind, Refused};
use super::starts::Starts;
use crate::otlp::{
    ITEMS, RESOURCE, RESOURCE_ATTRIBUTES, RESOURCE_ITEMS, SCOPE, SCOPE_ITEMS, metric, scope,
};
use crate::wire::{
    put_bytes_field, put_fixed64_field, put_message, put_tag, put_varint, put_varint_field,
};

const SCOPE_NAME: &[u8] = b"otel_pipeline/receivers/prometheus";
const CUMULATIVE: u64 = 2;

/// The fields that differ between the kinds of data points.
struct Layout {
    data: u32,
    attributes: u32,
    exemplars: u32,
}

fn layout(kind: Kind) -> Layout {
    let (data, attributes, exemplars) = match kind {
        Kind::Counter | Kind::State => (metric::SUM, 7, 5),
        Kind::Gauge | Kind::Unknown => (metric::GAUGE, 7, 5),
        Kind::Histogram => (metric::HISTOGRAM, 9, 8),
        Kind::Summary => (metric::SUMMARY, 7, 0),
    };
    Layout {
        data,
        attributes,
        exemplars,
    }
}

/// The attributes of a data point, as fields of it.
pub fn attributes(kind: Kind, labels: &[(Cow<'_, str>, Cow<'_, str>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in labels {
        attribute(&mut out, layout(kind).attributes, name, value);
    }
    out
}

fn attribute(out: &mut Vec<u8>, number: u32, name: &str, value: &str) {
    put_message(out, number, |out| {
        put_bytes_field(out, 1, name.as_bytes());
        put_message(out, 2, |out| put_bytes_field(out, 1, value.as_bytes()));
    });
}

/// The request, and how many data points it has.
pub fn request(
    page: &Page<'_>,
    rules: &Rules,
    starts: &mut Starts,
    refused: &mut Refused,
) -> (Vec<u8>, u64) {
    let mut out = Vec::new();
    let mut items = 0;
    for ((job, instance), group) in &page.groups {
        let mut metrics = Vec::new();
        for (name, family) in &group.families {
            let series = [job.as_str(), instance, name].join("\0");
            let (points, count) = points(&series, family, starts, refused);
            if count > 0 {
                items += count;
                put_message(&mut metrics, ITEMS, |out| one(out, name, family, &points));
            }
        }
        if metrics.is_empty() {
            continue;
        }
        put_message(&mut out, RESOURCE_ITEMS, |out| {
            put_message(out, RESOURCE, |out| {
                resource(out, job, instance, rules, &group.info);
            });
            put_message(out, SCOPE_ITEMS, |out| {
                put_message(out, SCOPE, |out| {
                    put_bytes_field(out, scope::NAME, SCOPE_NAME)
                });
                out.extend_from_slice(&metrics);
            });
        });
    }
    (out, items)
}

fn resource(
    out: &mut Vec<u8>,
    job: &str,
    instance: &str,
    rules: &Rules,
    info: &[(String, String)],
) {
    let mut named = vec![("service.name", job), ("service.instance.id", instance)];
    named.extend(
        rules
            .resource
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    for (name, value) in info {
        if !named.iter().any(|(known, _)| known == name) {
            named.push((name, value));
        }
    }
    for (name, value) in named.into_iter().filter(|(_, value)| !value.is_empty()) {
        attribute(out, RESOURCE_ATTRIBUTES, name, value);
    }
}

fn one(out: &mut Vec<u8>, name: &str, family: &Family, points: &[u8]) {
    put_bytes_field(out, metric::NAME, name.as_bytes());
    put_bytes_field(out, metric::DESCRIPTION, family.meta.help.as_bytes());
    put_bytes_field(out, metric::UNIT, family.meta.unit.as_bytes());
    let kind = family.meta.kind;
    put_message(out, layout(kind).data, |out| {
        out.extend_from_slice(points);
        if matches!(kind, Kind::Counter | Kind::State | Kind::Histogram) {
            put_varint_field(out, metric::TEMPORALITY, CUMULATIVE);
        }
        if kind == Kind::Counter {
            put_varint_field(out, metric::MONOTONIC, 1);
        }
    });
}

fn points(
    series: &str,
    family: &Family,
    starts: &mut Starts,
    refused: &mut Refused,
) -> (Vec<u8>, u64) {
    let (mut out, mut count) = (Vec::new(), 0);
    let kind = family.meta.kind;
    for (attributes, point) in &family.points {
        let body = match kind {
            Kind::Histogram => histogram(point),
            Kind::Summary => summary(point),
            // A counter may have told when it began, and nothing else.
            _ if point.value.is_none() => continue,
            _ => number(point),
        };
        let (body, total) = match body {
            Ok(body) => body,
            Err(reason) => {
                *refused.entry(reason).or_default() += 1;
                continue;
            }
        };
        let start_ns = match kind {
            Kind::Counter | Kind::Histogram | Kind::Summary => {
                let key = [series.as_bytes(), b"\0", attributes].concat();
                starts.start(key, total, point.created_ns, point.time_ns)
            }
            _ => 0,
        };
        put_message(&mut out, metric::DATA_POINTS, |out| {
            out.extend_from_slice(attributes);
            put_fixed64_field(out, 2, start_ns);
            put_fixed64_field(out, 3, point.time_ns);
            out.extend_from_slice(&body);
            if layout(kind).exemplars > 0 {
                for exemplar in &point.exemplars {
                    put_message(out, layout(kind).exemplars, |out| {
                        one_exemplar(out, exemplar, point.time_ns)
                    });
                }
            }
        });
        count += 1;
    }
    (out, count)
}

/// The fields of a point that are its own, and the number that never falls while a series goes on.
type Body = Result<(Vec<u8>, f64), &'static str>;

fn number(point: &Point) -> Body {
    let mut out = Vec::new();
    let value = point.value.unwrap_or_default();
    put_fixed64_field(&mut out, 4, value.to_bits());
    Ok((out, value))
}

fn histogram(point: &Point) -> Body {
    let mut buckets = point.parts.clone();
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    buckets.dedup_by(|later, first| later.0 == first.0);
    let is_last = |bucket: &&(f64, f64)| bucket.0 == f64::INFINITY;
    let above = buckets.last().filter(is_last).copied();
    buckets.truncate(buckets.len() - usize::from(above.is_some()));
    let total = above.map(|(_, count)| count).or(point.count);
    let total = whole(total.ok_or("incomplete_histogram")?)?;
    let (mut counts, mut before) = (Vec::with_capacity(buckets.len() + 1), 0);
    for (_, count) in &buckets {
        let count = whole(*count)?;
        counts.push(count.checked_sub(before).ok_or("buckets_decrease")?);
        before = count;
    }
    counts.push(total.checked_sub(before).ok_or("buckets_decrease")?);
    let mut out = Vec::new();
    put_fixed64_field(&mut out, 4, total);
    if let Some(sum) = point.sum {
        put_fixed64_field(&mut out, 5, sum.to_bits());
    }
    packed(&mut out, 6, counts.into_iter());
    packed(
        &mut out,
        7,
        buckets.iter().map(|(bound, _)| bound.to_bits()),
    );
    Ok((out, total as f64))
}

fn summary(point: &Point) -> Body {
    let count = whole(point.count.ok_or("incomplete_summary")?)?;
    let mut out = Vec::new();
    put_fixed64_field(&mut out, 4, count);
    put_fixed64_field(&mut out, 5, point.sum.unwrap_or_default().to_bits());
    for (quantile, value) in &point.parts {
        put_message(&mut out, 6, |out| {
            put_fixed64_field(out, 1, quantile.to_bits());
            put_fixed64_field(out, 2, value.to_bits());
        });
    }
    Ok((out, count as f64))
}

fn packed(out: &mut Vec<u8>, number: u32, values: impl ExactSizeIterator<Item = u64>) {
    if values.len() > 0 {
        put_tag(out, number, 2);
        put_varint(out, 8 * values.len() as u64);
        values.for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    }
}

fn whole(count: f64) -> Result<u64, &'static str> {
    let is_whole = (0.0..1.8e19).contains(&count) && count.fract() == 0.0;
    is_whole.then_some(count as u64).ok_or("invalid_count")
}

/// Labels `trace_id` and `span_id` become ids where they are such.
fn one_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar, time_ns: u64) {
    let time_ns = if exemplar.time_ns > 0 {
        exemplar.time_ns
    } else {
        time_ns
    };
    put_fixed64_field(out, 2, time_ns);
    put_fixed64_field(out, 3, exemplar.value.to_bits());
    for (name, value) in &exemplar.labels {
        let id = match name.as_str() {
            "trace_id" => id(value, 16).map(|id| (5, id)),
            "span_id" => id(value, 8).map(|id| (4, id)),
            _ => None,
        };
        match id {
            Some((number, id)) => put_bytes_field(out, number, &id),
            None => attribute(out, 7, name, value),
        }
    }
}

fn id(text: &str, length: usize) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() != 2 * length {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| match *pair {
        [high, low] => Some((digit(high)? * 16 + digit(low)?) as u8),
        _ => None,
    };
    let id: Vec<u8> = digits.chunks(2).map(byte).collect::<Option<_>>()?;
    id.iter().any(|byte| *byte != 0).then_some(id)
}
