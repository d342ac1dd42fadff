//! One data point and what its stream says of it: what it adds to each derivation, and to usage.
#![forbid(unsafe_code)]

use super::intern::Symbol;
use super::keys::Lists;
use super::metrics::{Counted, Metrics};
use super::plan::Instrument;
use super::point::{Kind, Point, Temporality};
use super::select::Candidate;
use super::series::Amount;
use super::streams::{Reading, StreamId, Streams, hash_of};
use super::table::{Derivation, ValueFrom};
use super::usage::account::Account;
use crate::otlp::{Context, RESOURCE_ATTRIBUTES, attributes, child, scope};
use crate::rows::point_attributes;

/// Where a data point stands.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub context: Context<'a>,
    pub name: &'a [u8],
    pub kind: Kind,
}

/// What is known of a data point and may be asked for more than once.
pub struct Told<'t> {
    point: &'t Point,
    place: &'t Place<'t>,
    body: &'t [u8],
    stream: Option<StreamId>,
    gain: Option<Option<Reading>>,
    change: Option<Option<f64>>,
}

/// Why a data point does not count for a derivation.
pub enum Refusal {
    Repeated,
    Unsupported,
    NoNumber,
}

/// Refusals of one data point.
#[derive(Default)]
pub struct Refused {
    pub repeated: u64,
    pub unsupported: u64,
    pub no_number: u64,
}

impl Refused {
    pub fn add(&mut self, result: &Result<(), Refusal>) {
        match result {
            Ok(()) => {}
            Err(Refusal::Repeated) => self.repeated += 1,
            Err(Refusal::Unsupported) => self.unsupported += 1,
            Err(Refusal::NoNumber) => self.no_number += 1,
        }
    }
}

impl<'t> Told<'t> {
    /// `body` is the message of `point`.
    pub fn new(point: &'t Point, place: &'t Place<'t>, body: &'t [u8]) -> Self {
        Self {
            point,
            place,
            body,
            stream: None,
            gain: None,
            change: None,
        }
    }

    /// Tells what the point adds to the usage of tokens or money.
    pub fn tell(
        &mut self,
        usage: &mut Account,
        candidate: &Candidate<'t, '_>,
        lists: &Lists<'t>,
        slots: &[Symbol],
        streams: &mut Streams,
        now_ns: u64,
    ) -> Result<(), Refusal> {
        let (context, point) = (&self.place.context, self.point);
        if context.new_scope {
            usage.points.enter(context);
        }
        if point.is_gone || !usage.points.selects(candidate) {
            return Ok(());
        }
        if !point.has_value {
            return Err(Refusal::NoNumber);
        }
        let told = (point.reading.time_ns, self.gain(streams, now_ns)?.value);
        if told.1 != 0.0 {
            usage.add_point(candidate, lists, context, slots, told, now_ns);
        }
        Ok(())
    }

    /// Counts the point for one derivation.
    pub fn count(
        &mut self,
        derivation: &Derivation,
        item: &Counted<'_>,
        streams: &mut Streams,
        metrics: &mut Metrics,
        now_ns: u64,
    ) -> Result<(), Refusal> {
        if self.point.is_gone {
            return Ok(());
        }
        let is_one = derivation.value == ValueFrom::One;
        if !is_one && !self.point.has_value {
            return Err(Refusal::NoNumber);
        }
        let (family, scale) = (derivation.family, derivation.scale);
        let instrument = metrics.families[family].plan.instrument;
        let amount = match instrument {
            Instrument::Gauge if is_one => scale,
            Instrument::Gauge => self.point.reading.value * scale,
            Instrument::Counter => {
                let gain = self.gain(streams, now_ns)?;
                match (is_one, self.place.kind.is_number()) {
                    (false, _) => gain.value * scale,
                    (true, false) => gain.count as f64 * scale,
                    (true, true) => return Err(Refusal::Unsupported),
                }
            }
            Instrument::Rows => return Err(Refusal::Unsupported),
            Instrument::UpDownCounter if is_one => return Err(Refusal::Unsupported),
            Instrument::UpDownCounter => self.change(streams, now_ns)? * scale,
            Instrument::Histogram if self.place.kind.is_gauge() => self.point.reading.value * scale,
            Instrument::Histogram => {
                if self.point.bounds.is_empty() && self.point.reading.counts.is_empty() {
                    return Err(Refusal::Unsupported);
                }
                let gain = self.gain(streams, now_ns)?;
                metrics.give_distribution(derivation, item, &gain, &self.point.bounds, now_ns);
                return Ok(());
            }
        };
        if let Some((label, words)) = &derivation.states {
            for (number, word) in words {
                let is_it = f64::from(u8::from(*number == amount));
                let labels = item.labels(derivation).enumerate();
                let labels = labels.map(|(at, own)| if at == *label { *word } else { own });
                metrics.give_to(family, labels, Amount::Number(is_it), &item.seen, now_ns);
            }
            return Ok(());
        }
        metrics.give(derivation, item, Amount::Number(amount), now_ns);
        if instrument == Instrument::UpDownCounter
            && self.place.kind.temporality == Temporality::Cumulative
        {
            let labels: Vec<Symbol> = item.labels(derivation).collect();
            streams.share(self.stream(), family, &labels, amount);
        }
        Ok(())
    }

    fn stream(&mut self) -> StreamId {
        let (place, body) = (self.place, self.body);
        *self.stream.get_or_insert_with(|| stream_id(place, body))
    }

    /// What the point adds to a counter.
    fn gain(&mut self, streams: &mut Streams, now_ns: u64) -> Result<Reading, Refusal> {
        let (reading, stream) = (&self.point.reading, self.stream());
        let add = match self.place.kind.temporality {
            Temporality::None => return Err(Refusal::Unsupported),
            Temporality::Delta => Streams::delta,
            Temporality::Cumulative => Streams::gain,
        };
        let gain = self
            .gain
            .get_or_insert_with(|| add(streams, stream, reading, now_ns));
        gain.clone().ok_or(Refusal::Repeated)
    }

    /// What the point adds to an up-down counter.
    fn change(&mut self, streams: &mut Streams, now_ns: u64) -> Result<f64, Refusal> {
        if self.place.kind.temporality != Temporality::Cumulative {
            return self.gain(streams, now_ns).map(|gain| gain.value);
        }
        let (reading, stream) = (&self.point.reading, self.stream());
        let change = self
            .change
            .get_or_insert_with(|| streams.change(stream, reading, now_ns));
        change.ok_or(Refusal::Repeated)
    }
}

/// The stream of a point: resource, scope, metric and attributes, in whatever order the attributes are.
fn stream_id(place: &Place<'_>, body: &[u8]) -> StreamId {
    let context = &place.context;
    let scope_name = child(context.scope, scope::NAME);
    hash_of((
        attributes_hash(context.resource, RESOURCE_ATTRIBUTES),
        attributes_hash(context.scope, scope::ATTRIBUTES),
        (scope_name, child(context.scope, scope::VERSION)),
        (place.name, place.kind.number),
        attributes_hash(body, point_attributes(place.kind.number)),
    ))
}

fn attributes_hash(message: &[u8], number: u32) -> StreamId {
    let hashes = attributes(message, number).map(hash_of);
    hashes.fold(0, StreamId::wrapping_add)
}
