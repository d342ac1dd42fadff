//! `io.prometheus.write.v2.Request`: every text once, in a table of symbols, and labels as places in it.
#![forbid(unsafe_code)]

use super::message::{Exemplar, Message, Meta, Sample, Times, Type};
use super::message::{put_histogram, put_packed, put_sample};
use crate::aggregate::hash::HashMap;
use crate::wire::{put_bytes_field, put_fixed64_field, put_message, put_varint_field};

const SYMBOLS: u32 = 4;
const TIMESERIES: u32 = 5;
/// `TimeSeries`.
const LABELS: u32 = 1;
const SAMPLES: u32 = 2;
const HISTOGRAMS: u32 = 3;
const EXEMPLARS: u32 = 4;
const METADATA: u32 = 5;

pub struct Request {
    /// The table as it is written; its first symbol is the empty text.
    symbols: Vec<u8>,
    places: HashMap<Box<str>, u32>,
    timeseries: Vec<u8>,
    /// Type, help and unit of the metric that is being written.
    metadata: Option<(Type, u32, u32)>,
    scratch: Vec<u32>,
}

impl Default for Request {
    fn default() -> Self {
        let mut request = Self {
            symbols: Vec::new(),
            places: HashMap::default(),
            timeseries: Vec::new(),
            metadata: None,
            scratch: Vec::new(),
        };
        request.place("");
        request
    }
}

impl Request {
    /// The place of a text in the table.
    fn place(&mut self, text: &str) -> u32 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.places.len() as u32;
        put_bytes_field(&mut self.symbols, SYMBOLS, text.as_bytes());
        self.places.insert(text.into(), place);
        place
    }
}

impl Message for Request {
    type Label = [u32; 2];

    fn label(&mut self, name: &str, value: &str) -> Self::Label {
        [name, value].map(|text| self.place(text))
    }

    fn metric(&mut self, meta: &Meta<'_>, metadata: bool) {
        self.metadata = metadata.then(|| (meta.kind, self.place(meta.help), self.place(meta.unit)));
    }

    fn series<'l>(
        &mut self,
        labels: impl Iterator<Item = &'l Self::Label>,
        sample: &Sample<'_>,
        times: Times,
        exemplars: &[Exemplar<Self::Label>],
    ) {
        let (scratch, metadata) = (&mut self.scratch, self.metadata);
        put_message(&mut self.timeseries, TIMESERIES, |out| {
            scratch.clear();
            scratch.extend(labels.flatten());
            put_packed(out, LABELS, scratch);
            match sample {
                Sample::Float(bits) => {
                    put_sample(out, SAMPLES, *bits, times.time_ms, times.start_ms);
                }
                Sample::Native(histogram) => {
                    put_histogram(out, HISTOGRAMS, *histogram, times.time_ms, times.start_ms);
                }
            }
            for exemplar in exemplars {
                put_message(out, EXEMPLARS, |out| {
                    scratch.clear();
                    scratch.extend(exemplar.labels.iter().flatten());
                    put_packed(out, 1, scratch);
                    put_fixed64_field(out, 2, exemplar.value.to_bits());
                    put_varint_field(out, 3, exemplar.time_ms);
                });
            }
            if let Some((kind, help, unit)) = metadata {
                put_message(out, METADATA, |out| {
                    put_varint_field(out, 1, kind as u64);
                    put_varint_field(out, 3, u64::from(help));
                    put_varint_field(out, 4, u64::from(unit));
                });
            }
        });
    }

    fn size(&self) -> usize {
        self.symbols.len() + self.timeseries.len()
    }

    fn finish(mut self) -> Vec<u8> {
        self.symbols.append(&mut self.timeseries);
        self.symbols
    }
}
