//! Bodies of remote-write requests, made of what `collect` gives.
//! Source: Prometheus Remote-Write 1.0 and 2.0-rc.4.
#![forbid(unsafe_code)]

mod message;
mod points;
mod v1;
mod v2;

use super::declared::gauge_kind;
use super::series::Kind;
use crate::otlp::{for_each_item, is_data, metric, text};
use crate::wire::{Value, fields};
use message::{Message, Meta, Type};
use points::Writer;

/// The message that the receiver reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

pub struct Options {
    pub version: Version,
    /// Exponential histograms as native ones; else as classic buckets.
    pub native_histograms: bool,
    pub metadata: bool,
    /// Of the message, before it is compressed.
    pub max_bytes: usize,
}

/// How many of each kind a body holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    pub samples: u64,
    pub histograms: u64,
    pub exemplars: u64,
}

/// The message, not yet compressed; None where it would be over the limit. Names and attributes of the data points are
/// taken as they are; resources and scopes are not read.
pub fn message(request: &[u8], options: &Options) -> Option<(Vec<u8>, Tally)> {
    match options.version {
        Version::V1 => write(request, options, v1::WriteRequest::default()),
        Version::V2 => write(request, options, v2::Request::default()),
    }
}

fn gauge_type(kind: Kind) -> Type {
    match kind {
        Kind::Unknown => Type::Unknown,
        Kind::Info => Type::Info,
        Kind::StateSet => Type::StateSet,
        _ => Type::Gauge,
    }
}

fn write<M: Message>(request: &[u8], options: &Options, message: M) -> Option<(Vec<u8>, Tally)> {
    let mut writer = Writer::new(message, options);
    for_each_item(request, |_, body| {
        let mut meta = Meta {
            kind: gauge_type(gauge_kind(body)),
            ..Meta::default()
        };
        for field in fields(body).flatten() {
            match (field.number, field.value) {
                (metric::NAME, Value::Bytes(name)) => meta.name = text(name),
                (metric::DESCRIPTION, Value::Bytes(help)) => meta.help = text(help),
                (metric::UNIT, Value::Bytes(unit)) => meta.unit = text(unit),
                (number, Value::Bytes(data)) if is_data(number) => {
                    writer.metric(&meta, number, data);
                }
                _ => {}
            }
        }
    });
    writer.finish()
}

/// As the protocol demands: Snappy, block format.
pub fn compressed(message: &[u8]) -> Vec<u8> {
    // Fails only over 4 GiB, far above any `max_bytes`.
    snap::raw::Encoder::new()
        .compress_vec(message)
        .unwrap_or_default()
}
