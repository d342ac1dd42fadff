//! Rows: the items that are counted (spans, log records, data points), seen alike in all three signals.
#![forbid(unsafe_code)]

use crate::otlp::{
    Context, Signal, for_each_item, histogram_point, is_data, log, metric, number_point, points,
    span,
};
use crate::rewrite::{Edit, Rewrite, rewrite};
use crate::wire::{Value, fields, put_bytes_field, put_message};

/// One item and what is around it.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// The body of a Span, LogRecord or data point message.
    pub body: &'a [u8],
    /// The field number of its attributes.
    pub attributes: u32,
    /// The body of the Metric that a data point belongs to; else the item itself.
    pub item: &'a [u8],
}

/// The field number of the attributes in the data points of a metric's `kind` field (gauge, sum, ...).
pub fn point_attributes(kind: u32) -> u32 {
    match kind {
        metric::HISTOGRAM => histogram_point::ATTRIBUTES,
        metric::EXPONENTIAL_HISTOGRAM => 1,
        _ => number_point::ATTRIBUTES, // a summary's too
    }
}

/// Calls `visit` with every row of a checked request, in wire order.
pub fn for_each_row<'a>(
    signal: Signal,
    message: &'a [u8],
    mut visit: impl FnMut(&Context<'a>, Row<'a>),
) {
    for_each_item(message, |context, item| match signal {
        Signal::Traces => visit(
            context,
            Row {
                body: item,
                attributes: span::ATTRIBUTES,
                item,
            },
        ),
        Signal::Logs => visit(
            context,
            Row {
                body: item,
                attributes: log::ATTRIBUTES,
                item,
            },
        ),
        Signal::Metrics => {
            for (kind, body) in points(item) {
                let attributes = point_attributes(kind);
                visit(
                    context,
                    Row {
                        body,
                        attributes,
                        item,
                    },
                );
            }
        }
    });
}

/// How one pass edits rows; `out` comes empty and takes the new row body for `Edit::Write`.
pub trait RewriteRows {
    fn row(&mut self, context: &Context<'_>, row: Row<'_>, out: &mut Vec<u8>) -> Edit;
}

/// As `rewrite::rewrite`, by rows. A metric that loses all its data points is left out.
pub fn rewrite_rows(
    signal: Signal,
    message: &[u8],
    pass: &mut impl RewriteRows,
) -> Option<Vec<u8>> {
    rewrite(
        message,
        &mut ByRows {
            signal,
            pass,
            scratch: Vec::new(),
        },
    )
}

struct ByRows<'p, P> {
    signal: Signal,
    pass: &'p mut P,
    scratch: Vec<u8>,
}

impl<P: RewriteRows> Rewrite for ByRows<'_, P> {
    fn item(&mut self, context: &Context<'_>, item: &[u8], out: &mut Vec<u8>) -> Edit {
        let attributes = match self.signal {
            Signal::Traces => span::ATTRIBUTES,
            Signal::Logs => log::ATTRIBUTES,
            Signal::Metrics => return self.metric(context, item, out),
        };
        self.pass.row(
            context,
            Row {
                body: item,
                attributes,
                item,
            },
            out,
        )
    }
}

impl<P: RewriteRows> ByRows<'_, P> {
    fn metric(&mut self, context: &Context<'_>, item: &[u8], out: &mut Vec<u8>) -> Edit {
        let pass = &mut *self.pass;
        rewrite_points(item, &mut self.scratch, out, |row, out| {
            pass.row(context, row, out)
        })
    }
}

/// Writes a Metric with its data points edited into `out`, each by `edit`, whose `out` is `scratch` and comes empty.
pub fn rewrite_points(
    item: &[u8],
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
    mut edit: impl FnMut(Row<'_>, &mut Vec<u8>) -> Edit,
) -> Edit {
    let (mut changed, mut kept, mut dropped) = (false, false, false);
    for field in fields(item).flatten() {
        let (true, Value::Bytes(data)) = (is_data(field.number), field.value) else {
            out.extend_from_slice(field.raw);
            continue;
        };
        let attributes = point_attributes(field.number);
        put_message(out, field.number, |out| {
            for field in fields(data).flatten() {
                let (metric::DATA_POINTS, Value::Bytes(body)) = (field.number, field.value) else {
                    out.extend_from_slice(field.raw);
                    continue;
                };
                let row = Row {
                    body,
                    attributes,
                    item,
                };
                scratch.clear();
                match edit(row, scratch) {
                    Edit::Keep => {
                        out.extend_from_slice(field.raw);
                        kept = true;
                    }
                    Edit::Write => {
                        put_bytes_field(out, metric::DATA_POINTS, scratch);
                        (changed, kept) = (true, true);
                    }
                    Edit::Drop => (changed, dropped) = (true, true),
                }
            }
        });
    }
    match (changed, dropped && !kept) {
        (_, true) => Edit::Drop,
        (true, false) => Edit::Write,
        (false, false) => Edit::Keep,
    }
}
