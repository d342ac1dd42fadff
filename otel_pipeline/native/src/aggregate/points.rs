//! Data points of OTLP metrics: what they add to derived metrics, and which of them are not passed on.
#![forbid(unsafe_code)]

use super::claims::{Claim, Claims};
use super::extract::Extractor;
use super::intern::{ABSENT, Symbol};
use super::keys::Lists;
use super::metrics::{Counted, Metrics};
use super::plan::Source;
use super::point::{Kind, Point};
use super::select::{Candidate, Mask, members};
use super::series::{Amount, Observation};
use super::streams::Streams;
use super::table::{Faults, Table};
use super::told::{Place, Refusal, Refused, Told};
use crate::otlp::{
    Context, ITEMS, RESOURCE, RESOURCE_ITEMS, SCOPE, SCOPE_ITEMS, Signal, child, children, is_data,
    metric, points,
};
use crate::rewrite::Edit;
use crate::rows::{RewriteRows, Row, rewrite_rows};
use crate::wire::fields;

/// Streams are looked through for silent ones so often.
const FORGET_EVERY_NS: u64 = 60_000_000_000;

/// Everything that data points need.
pub struct Points {
    table: Table,
    all: Mask,
    extractor: Extractor,
    pub streams: Streams,
    /// Values of the table's siblings in the resource at hand.
    siblings: Vec<Symbol>,
    claims: Vec<Claim>,
    forget_due_ns: u64,
    pub counted: u64,
    /// Points that came before, and those of a kind that the derived metric cannot take in.
    pub repeated: u64,
    pub unsupported: u64,
}

impl Points {
    pub fn new(table: Table, extractor: Extractor, start_unix_ns: u64) -> Self {
        Self {
            all: table.of(&[Source::Points]),
            siblings: vec![ABSENT; table.siblings.len()],
            table,
            extractor,
            streams: Streams::new(start_unix_ns),
            claims: Vec::new(),
            forget_due_ns: 0,
            counted: 0,
            repeated: 0,
            unsupported: 0,
        }
    }

    /// Takes in the data points of a checked metrics request. Gives the request without those that are not passed on,
    /// and how many these are; None where all are passed on.
    pub fn update(
        &mut self,
        request: &[u8],
        metrics: &mut Metrics,
        faults: &mut Faults,
        now_ns: u64,
    ) -> Option<(Vec<u8>, u64)> {
        let usage = metrics.usage.as_ref();
        if self.table.is_empty() && usage.is_none_or(|usage| usage.points.is_empty()) {
            return None;
        }
        let mut pass = Pass {
            points: self,
            lists: Lists::default(),
            taken: Vec::new(),
            metrics,
            faults,
            now_ns,
        };
        for resource_items in children(request, RESOURCE_ITEMS).flatten() {
            pass.resource(resource_items.value.bytes());
        }
        let taken = pass.taken;
        if self.streams.is_full() {
            self.forget(metrics, now_ns);
        }
        let count = taken.iter().filter(|taken| **taken).count() as u64;
        let mut untaken = Untaken(taken.into_iter());
        let rest = (count > 0).then(|| rewrite_rows(Signal::Metrics, request, &mut untaken));
        rest.flatten().map(|rest| (rest, count))
    }

    /// Forgets streams that are through, if it is time to look.
    pub fn expire(&mut self, metrics: &mut Metrics, now_ns: u64) {
        if now_ns >= self.forget_due_ns {
            self.forget_due_ns = now_ns.saturating_add(FORGET_EVERY_NS);
            self.forget(metrics, now_ns);
        }
    }

    /// What a forgotten stream had in an up-down counter is taken off it.
    fn forget(&mut self, metrics: &mut Metrics, now_ns: u64) {
        for share in self.streams.forget(now_ns) {
            let labels = share.labels.iter().copied();
            let (amount, seen) = (Amount::Number(-share.amount), Observation::default());
            metrics.give_to(share.family, labels, amount, &seen, now_ns);
        }
    }

    /// Reads the values of metrics that are labels of others of their resource.
    fn read_siblings(&mut self, resource_items: &[u8], metrics: &mut Metrics) {
        self.siblings.fill(ABSENT);
        if self.siblings.is_empty() {
            return;
        }
        let scopes = children(resource_items, SCOPE_ITEMS).flatten();
        let items = scopes.flat_map(|scope| children(scope.value.bytes(), ITEMS).flatten());
        for item in items.map(|item| item.value.bytes()) {
            let name = child(item, metric::NAME);
            let mut names = self.table.siblings.iter().map(String::as_bytes);
            let Some(at) = names.position(|known| known == name) else {
                continue;
            };
            if let Some((number, body)) = points(item).last() {
                let point = Point::read(number, body, |_| {});
                if point.has_value {
                    let text = point.reading.value.to_string();
                    self.siblings[at] = metrics.interner.intern(&text);
                }
            }
        }
    }
}

/// One request's way through.
struct Pass<'p, 'a> {
    points: &'p mut Points,
    lists: Lists<'a>,
    /// Of each point in wire order: whether it is not passed on.
    taken: Vec<bool>,
    metrics: &'p mut Metrics,
    faults: &'p mut Faults,
    now_ns: u64,
}

impl<'a> Pass<'_, 'a> {
    fn resource(&mut self, resource_items: &'a [u8]) {
        self.points.read_siblings(resource_items, self.metrics);
        let mut context = Context {
            resource: child(resource_items, RESOURCE),
            scope: &[],
            scope_items: &[],
            new_resource: true,
            new_scope: true,
        };
        for scope_items in children(resource_items, SCOPE_ITEMS).flatten() {
            let scope_items = scope_items.value.bytes();
            context.scope = child(scope_items, SCOPE);
            context.new_scope = true;
            for item in children(scope_items, ITEMS).flatten() {
                self.metric(&mut context, item.value.bytes());
            }
        }
    }

    fn metric(&mut self, context: &mut Context<'a>, metric: &'a [u8]) {
        let name = child(metric, metric::NAME);
        let usage = self.metrics.usage.as_ref();
        let may_tell = usage.is_some_and(|usage| usage.points.may_select(name));
        if !may_tell && !self.points.table.may_count(name) {
            self.taken.extend(points(metric).map(|_| false));
            return;
        }
        for field in fields(metric).flatten() {
            if !is_data(field.number) {
                continue;
            }
            let data = field.value.bytes();
            let kind = Kind::of(field.number, data);
            for point in children(data, metric::DATA_POINTS).flatten() {
                let place = Place {
                    context: *context,
                    name,
                    kind,
                };
                let taken = self.point(&place, point.value.bytes());
                self.taken.push(taken);
                (context.new_resource, context.new_scope) = (false, false);
            }
        }
    }

    /// Takes in one data point; true where it is not passed on.
    fn point(&mut self, place: &Place<'a>, body: &'a [u8]) -> bool {
        let (points, metrics) = (&mut *self.points, &mut *self.metrics);
        let (table, extractor) = (&mut points.table, &mut points.extractor);
        let (interner, lists) = (&mut metrics.interner, &mut self.lists);
        table.enter(extractor, interner, &place.context, lists);
        let point = Point::read(place.kind.number, body, |attribute| {
            extractor.attribute(interner, lists, attribute);
        });
        extractor.name(interner, place.name);
        let slots = extractor.slots();
        let candidate = Candidate {
            name: place.name,
            kind: 0,
            status: 0,
            item: &[],
            seen: &lists.item,
        };
        let claims = &mut points.claims;
        table.claim(&candidate, lists, slots, interner, claims, self.faults);
        let counting = table.counting(points.all, slots, Claims(claims));
        let mut told = Told::new(&point, place, body);
        let mut refused = Refused::default();
        if let Some(usage) = &mut metrics.usage {
            let result = told.tell(
                usage,
                &candidate,
                lists,
                slots,
                &mut points.streams,
                self.now_ns,
            );
            refused.add(&result);
        }
        points.counted += u64::from(counting != 0);
        let item = Counted {
            slots,
            claims: Claims(claims),
            siblings: &points.siblings,
            duration_ns: 0,
            seen: Observation {
                time_ns: point.reading.time_ns,
                ..Observation::default()
            },
        };
        let mut taken = false;
        for derivation in members(counting).map(|at| &table.derivations[at]) {
            let result = told.count(derivation, &item, &mut points.streams, metrics, self.now_ns);
            taken |= derivation.takes && !matches!(result, Err(Refusal::Unsupported));
            refused.add(&result);
        }
        points.repeated += refused.repeated;
        points.unsupported += refused.unsupported;
        self.faults.no_number += refused.no_number;
        taken
    }
}

/// Leaves out what is taken, by the flags of all points in wire order.
struct Untaken(std::vec::IntoIter<bool>);

impl RewriteRows for Untaken {
    fn row(&mut self, _: &Context<'_>, _: Row<'_>, _: &mut Vec<u8>) -> Edit {
        match self.0.next() {
            Some(true) => Edit::Drop,
            _ => Edit::Keep,
        }
    }
}
