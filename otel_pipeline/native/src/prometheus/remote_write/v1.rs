//! `prometheus.WriteRequest`: every series with all its labels as text.
#![forbid(unsafe_code)]

use super::message::{Exemplar, Message, Meta, Sample, Times, put_histogram, put_sample};
use crate::wire::{put_bytes_field, put_fixed64_field, put_message, put_varint_field};

const TIMESERIES: u32 = 1;
const METADATA: u32 = 3;
/// `TimeSeries`.
const LABELS: u32 = 1;
const SAMPLES: u32 = 2;
const EXEMPLARS: u32 = 3;
const HISTOGRAMS: u32 = 4;

#[derive(Default)]
pub struct WriteRequest {
    out: Vec<u8>,
}

impl Message for WriteRequest {
    /// The body of the `Label` message.
    type Label = Vec<u8>;

    fn label(&mut self, name: &str, value: &str) -> Self::Label {
        let mut label = Vec::with_capacity(name.len() + value.len() + 6);
        put_bytes_field(&mut label, 1, name.as_bytes());
        put_bytes_field(&mut label, 2, value.as_bytes());
        label
    }

    fn metric(&mut self, meta: &Meta<'_>, metadata: bool) {
        if !metadata {
            return;
        }
        put_message(&mut self.out, METADATA, |out| {
            put_varint_field(out, 1, meta.kind as u64);
            put_bytes_field(out, 2, meta.name.as_bytes());
            put_bytes_field(out, 4, meta.help.as_bytes());
            put_bytes_field(out, 5, meta.unit.as_bytes());
        });
    }

    fn series<'l>(
        &mut self,
        labels: impl Iterator<Item = &'l Self::Label>,
        sample: &Sample<'_>,
        times: Times,
        exemplars: &[Exemplar<Self::Label>],
    ) {
        put_message(&mut self.out, TIMESERIES, |out| {
            labels.for_each(|label| put_bytes_field(out, LABELS, label));
            if let Sample::Float(bits) = sample {
                put_sample(out, SAMPLES, *bits, times.time_ms, 0);
            }
            for exemplar in exemplars {
                put_message(out, EXEMPLARS, |out| {
                    let labels = exemplar.labels.iter();
                    labels.for_each(|label| put_bytes_field(out, 1, label));
                    put_fixed64_field(out, 2, exemplar.value.to_bits());
                    put_varint_field(out, 3, exemplar.time_ms);
                });
            }
            if let Sample::Native(histogram) = sample {
                put_histogram(out, HISTOGRAMS, *histogram, times.time_ms, 0);
            }
        });
    }

    fn size(&self) -> usize {
        self.out.len()
    }

    fn finish(self) -> Vec<u8> {
        self.out
    }
}
