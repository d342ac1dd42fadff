//! Writes the families of a page as one OTLP request, with the start times that are known of their series.
//! Source: OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility".
#![forbid(unsafe_code)]

use std::borrow::Cow;

use indexmap::IndexMap;

use super::Rules;
use super::known::{Gone, Known, Metric, Seen};
use super::page::{Family, Group, Page, Point};
use super::sample::{Buckets, Exemplar, Kind, Labels, Refused};
use crate::otlp::{
    ITEMS, RESOURCE, RESOURCE_ATTRIBUTES, RESOURCE_ITEMS, SCOPE, SCOPE_ITEMS, SCOPE_SCHEMA_URL,
    exponential_point, histogram_point, metric, number_point, put_exponential_buckets, scope,
    summary_point,
};
use crate::wire::{
    put_bytes_field, put_fixed64_field, put_message, put_tag, put_varint, put_varint_field, zigzag,
};

/// The scope of what comes without one.
const SCOPE_NAME: &str = "otel_pipeline/receivers/prometheus";
const SCOPE_LABEL: &str = "otel_scope_";
/// `DataPointFlags`: the series has gone.
const NO_RECORDED_VALUE: u64 = 1;
const CUMULATIVE: u64 = 2;

/// The fields that differ between the kinds of data points.
struct Layout {
    data: u32,
    attributes: u32,
    /// 0 for none.
    exemplars: u32,
    flags: u32,
}

fn layout(kind: Kind) -> Layout {
    let (data, attributes, exemplars, flags) = match kind {
        Kind::Counter | Kind::State => (
            metric::SUM,
            number_point::ATTRIBUTES,
            number_point::EXEMPLARS,
            number_point::FLAGS,
        ),
        Kind::Gauge | Kind::Unknown => (
            metric::GAUGE,
            number_point::ATTRIBUTES,
            number_point::EXEMPLARS,
            number_point::FLAGS,
        ),
        Kind::Histogram => (
            metric::HISTOGRAM,
            histogram_point::ATTRIBUTES,
            histogram_point::EXEMPLARS,
            histogram_point::FLAGS,
        ),
        Kind::Native => (
            metric::EXPONENTIAL_HISTOGRAM,
            exponential_point::ATTRIBUTES,
            exponential_point::EXEMPLARS,
            exponential_point::FLAGS,
        ),
        Kind::Summary => (
            metric::SUMMARY,
            summary_point::ATTRIBUTES,
            0,
            summary_point::FLAGS,
        ),
    };
    Layout {
        data,
        attributes,
        exemplars,
        flags,
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

/// Takes the labels `otel_scope_…` out; gives the encoded scope that they describe, and its schema URL. Without a name
/// there is no scope, and they are labels as any other.
pub fn scope(labels: &mut Labels<'_>) -> (Vec<u8>, String) {
    let (mut body, mut schema_url) = (Vec::new(), String::new());
    let is_name = |(name, _): &(Cow<'_, str>, Cow<'_, str>)| name == "otel_scope_name";
    if !labels.iter().any(is_name) {
        return (body, schema_url);
    }
    labels.sort_unstable(); // one scope, whatever the order of its labels
    labels.retain(|(name, value)| {
        match name.strip_prefix(SCOPE_LABEL) {
            None => return true,
            Some("name") => put_bytes_field(&mut body, scope::NAME, value.as_bytes()),
            Some("version") => put_bytes_field(&mut body, scope::VERSION, value.as_bytes()),
            Some("schema_url") => schema_url = value.to_string(),
            Some(name) => attribute(&mut body, scope::ATTRIBUTES, name, value),
        }
        false
    });
    (body, schema_url)
}

/// The request, and how many data points it has: what is on the page, then what has gone from it.
pub fn request(
    page: &Page<'_>,
    rules: &Rules,
    known: &mut Known,
    refused: &mut Refused,
) -> (Vec<u8>, u64) {
    let mut out = Vec::new();
    let mut items = 0;
    for (name, group) in &page.groups {
        let mut resource = Vec::new();
        resource_attributes(&mut resource, name, rules, &group.info);
        known.set_resource(name, &resource);
        let (scopes, count) = scopes(name, group, known, refused);
        items += count;
        if count > 0 {
            put_resource(&mut out, &resource, |out| {
                for ((scope, schema_url), metrics) in &scopes {
                    put_scope(out, scope, schema_url, metrics);
                }
            });
        }
    }
    for gone in known.gone() {
        items += gone.points.len() as u64;
        put_resource(&mut out, gone.resource, |out| {
            let metric = gone.metric;
            let metrics = absent(&gone, page.now_ns);
            put_scope(out, &metric.scope, &metric.schema_url, &metrics);
        });
    }
    (out, items)
}

/// Encoded metrics by their scope and its schema URL.
type Scopes<'p> = IndexMap<(&'p [u8], &'p str), Vec<u8>>;

/// The metrics of a group, and how many data points they have.
fn scopes<'p>(
    group: &(String, String),
    of: &'p Group,
    known: &mut Known,
    refused: &mut Refused,
) -> (Scopes<'p>, u64) {
    let (mut scopes, mut items) = (Scopes::new(), 0);
    for (metric, family) in &of.families {
        let mut see = |seen: Seen| known.see(group, metric, seen);
        let (points, count) = points(metric.kind, family, &mut see, refused);
        if count > 0 {
            items += count;
            let metrics = scopes.entry((&metric.scope, &metric.schema_url));
            put_message(metrics.or_default(), ITEMS, |out| {
                one(out, metric, &family.meta.help, &points);
            });
        }
    }
    (scopes, items)
}

fn put_resource(out: &mut Vec<u8>, resource: &[u8], scopes: impl FnOnce(&mut Vec<u8>)) {
    put_message(out, RESOURCE_ITEMS, |out| {
        put_bytes_field(out, RESOURCE, resource);
        scopes(out);
    });
}

fn put_scope(out: &mut Vec<u8>, scope: &[u8], schema_url: &str, metrics: &[u8]) {
    put_message(out, SCOPE_ITEMS, |out| {
        put_message(out, SCOPE, |out| match scope {
            [] => put_bytes_field(out, scope::NAME, SCOPE_NAME.as_bytes()),
            _ => out.extend_from_slice(scope),
        });
        out.extend_from_slice(metrics);
        if !schema_url.is_empty() {
            put_bytes_field(out, SCOPE_SCHEMA_URL, schema_url.as_bytes());
        }
    });
}

/// A metric of points that have no value any more.
fn absent(gone: &Gone<'_>, now_ns: u64) -> Vec<u8> {
    let (mut points, kind) = (Vec::new(), gone.metric.kind);
    for attributes in &gone.points {
        put_message(&mut points, metric::DATA_POINTS, |out| {
            out.extend_from_slice(attributes);
            put_fixed64_field(out, 3, now_ns);
            put_varint_field(out, layout(kind).flags, NO_RECORDED_VALUE);
        });
    }
    let mut out = Vec::new();
    put_message(&mut out, ITEMS, |out| one(out, gone.metric, "", &points));
    out
}

fn resource_attributes(
    out: &mut Vec<u8>,
    (job, instance): &(String, String),
    rules: &Rules,
    info: &[(String, String)],
) {
    let mut named: Vec<(&str, &str)> =
        vec![("service.name", job), ("service.instance.id", instance)];
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

fn one(out: &mut Vec<u8>, metric: &Metric, help: &str, points: &[u8]) {
    put_bytes_field(out, metric::NAME, metric.name.as_bytes());
    put_bytes_field(out, metric::DESCRIPTION, help.as_bytes());
    put_bytes_field(out, metric::UNIT, metric.unit.as_bytes());
    let kind = metric.kind;
    put_message(out, layout(kind).data, |out| {
        out.extend_from_slice(points);
        if !matches!(kind, Kind::Gauge | Kind::Unknown | Kind::Summary) {
            put_varint_field(out, metric::TEMPORALITY, CUMULATIVE);
        }
        if kind == Kind::Counter {
            put_varint_field(out, metric::MONOTONIC, 1);
        }
    });
}

/// The points of a family, and how many these are. `see` notes each and gives its start time.
fn points(
    kind: Kind,
    family: &Family,
    see: &mut dyn FnMut(Seen) -> u64,
    refused: &mut Refused,
) -> (Vec<u8>, u64) {
    let (mut out, mut count) = (Vec::new(), 0);
    for (attributes, point) in &family.points {
        let body = match kind {
            Kind::Histogram => histogram(point),
            Kind::Native => native(point),
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
        let start_ns = see(Seen {
            attributes: attributes.clone(),
            total: kind.is_cumulative().then_some(total),
            created_ns: point.created_ns,
            time_ns: point.time_ns,
            timed: point.timed,
        });
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

fn native(point: &Point) -> Body {
    let native = point.native.as_deref().ok_or("incomplete_histogram")?;
    let mut out = Vec::new();
    put_fixed64_field(&mut out, exponential_point::COUNT, native.count);
    if !native.sum.is_nan() {
        put_fixed64_field(&mut out, exponential_point::SUM, native.sum.to_bits());
    }
    put_varint_field(
        &mut out,
        exponential_point::SCALE,
        zigzag(native.scale.into()),
    );
    put_fixed64_field(&mut out, exponential_point::ZERO_COUNT, native.zero_count);
    put_buckets(&mut out, exponential_point::POSITIVE, &native.positive);
    put_buckets(&mut out, exponential_point::NEGATIVE, &native.negative);
    let threshold = native.zero_threshold.to_bits();
    put_fixed64_field(&mut out, exponential_point::ZERO_THRESHOLD, threshold);
    Ok((out, native.count as f64))
}

fn put_buckets(out: &mut Vec<u8>, number: u32, buckets: &Buckets) {
    if buckets.counts.is_empty() {
        return;
    }
    put_exponential_buckets(out, number, buckets.offset, &buckets.counts);
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

/// A count that may stand as a float.
pub fn whole(count: f64) -> Result<u64, &'static str> {
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
