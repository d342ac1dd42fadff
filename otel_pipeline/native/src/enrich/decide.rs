//! The first pass over a batch: decides what every resource, scope and item gets, by its attributes and by rules.
#![forbid(unsafe_code)]

use super::analysis::{Entry, RowRecord, Run, SpanRecord};
use super::gather::{Gathered, first_of};
use super::header::Header;
use super::item::{Item, event_name};
use super::observe::Observer;
use super::plan::{From, Lookup, Mask, Plan, Selector, Set, Stage, scalar};
use super::rule_set::members;
use super::scratch::Scratch;
use super::value::Value;
use crate::otlp::{
    AnyValue, ITEMS, RESOURCE, RESOURCE_ITEMS, SCOPE, SCOPE_ITEMS, Signal, child, children, metric,
    points, span, text,
};
use crate::rows::point_attributes;

/// Which canonical attributes of the item at hand have a value, by where it came from.
struct Values {
    have: Mask,
    /// By the sender, on the item or around it.
    given: Mask,
    /// By a rule.
    ruled: Mask,
}

/// One run over a request.
pub struct Pass<'s, 'a, O> {
    pub plan: &'a Plan,
    pub scratch: &'s mut Scratch<'a>,
    pub observer: &'s mut O,
}

impl<'a, O: Observer<'a>> Pass<'_, 'a, O> {
    /// Analyses a checked request.
    pub fn run(&mut self, signal: Signal, message: &'a [u8]) {
        for resource_items in children(message, RESOURCE_ITEMS).flatten() {
            let body = resource_items.value.bytes();
            self.enter_resource(child(body, RESOURCE));
            for scope_items in children(body, SCOPE_ITEMS).flatten() {
                self.scope(signal, scope_items.value.bytes());
            }
        }
    }

    fn scope(&mut self, signal: Signal, body: &'a [u8]) {
        let header = self.enter_scope(child(body, SCOPE));
        let stage = match signal {
            Signal::Traces => Stage::Span,
            Signal::Logs => Stage::Event,
            Signal::Metrics => Stage::Point,
        };
        let scratch = &mut *self.scratch;
        scratch.candidates.copy(&scratch.scope_rules);
        scratch.candidates.keep(&self.plan.stages[stage as usize]);
        scratch.names_matter = scratch.candidates.meets(&self.plan.named);
        scratch.tested.clear();
        for item in children(body, ITEMS).flatten() {
            let item = item.value.bytes();
            match stage {
                Stage::Event => self.log_record(item, &header),
                Stage::Point => self.metric(item, &header),
                _ => self.span(item, &header),
            }
        }
    }

    fn span(&mut self, body: &'a [u8], around: &Header) {
        let item = Item::span(self.plan, &mut self.scratch.item, body);
        self.wake_by_name(item.name);
        let values = self.decide(&item, around);
        let first = self.scratch.analysis.entries.len();
        let replaced = self.record(&values, around, true);
        let scratch = &mut *self.scratch;
        scratch.analysis.spans.push(SpanRecord {
            ids: item.ids,
            scope: scratch.analysis.scopes.len() as u32 - 1,
            own: Run::since(first, &scratch.analysis.entries),
            inherited: Run::default(),
            have: values.have | around.have,
            own_keys: scratch.item.own,
            replaced,
        });
    }

    fn log_record(&mut self, body: &'a [u8], around: &Header) {
        let item = Item::log_record(self.plan, &mut self.scratch.item, body);
        self.wake_by_name(item.name);
        self.row(&item, 0, around);
        self.scratch.items += 1;
    }

    fn metric(&mut self, body: &'a [u8], around: &Header) {
        let name = text(child(body, metric::NAME));
        self.wake_by_name(Some(name));
        for (point, (kind, body)) in points(body).enumerate() {
            let gathered = &mut self.scratch.item;
            let field = point_attributes(kind);
            let item = Item::data_point(self.plan, gathered, name, field, body);
            self.row(&item, point as u32, around);
        }
        self.scratch.items += 1;
    }

    fn row(&mut self, item: &Item<'a>, point: u32, around: &Header) {
        let values = self.decide(item, around);
        let first = self.scratch.analysis.entries.len();
        let replaced = self.record(&values, around, false);
        let items = self.scratch.items;
        let analysis = &mut self.scratch.analysis;
        if analysis.entries.len() > first {
            analysis.rows.push(RowRecord {
                item: items,
                point,
                own: Run::since(first, &analysis.entries),
                replaced,
            });
        }
        analysis.miss(self.plan.expected & !(values.have | around.have));
    }

    fn wake_by_name(&mut self, name: Option<&str>) {
        let scratch = &mut *self.scratch;
        scratch.named.copy(&self.plan.always);
        if !scratch.names_matter {
            return;
        }
        if let Some(rules) = name.and_then(|name| self.plan.names.get(name)) {
            scratch.named.add(rules);
        }
    }

    /// The values of an item: its own, and those that rules give, in `current`.
    #[inline]
    fn decide(&mut self, item: &Item<'a>, around: &Header) -> Values {
        self.observer.item(item);
        let found = self.scratch.item.found;
        let mut values = Values {
            have: 0,
            given: found | around.given,
            ruled: 0,
        };
        for attribute in members(found) {
            if let Some((preference, raw)) = self.scratch.item.best(attribute) {
                let value = self.normalised(attribute, raw);
                self.observer.sent(attribute, preference, value);
                self.scratch.current[attribute] = value;
                values.have |= 1 << attribute;
            }
        }
        self.note_unexpected(|scratch| scratch.item.unexpected);
        let scratch = &mut *self.scratch;
        scratch.woken.copy(&scratch.named);
        scratch.woken.add(&scratch.item.woken);
        scratch.woken.keep(&scratch.candidates);
        for word in 0..self.scratch.woken.words() {
            for index in self.scratch.woken.word(word) {
                self.try_rule(index, item, &mut values, around);
            }
        }
        values
    }

    #[inline]
    fn try_rule(&mut self, index: usize, item: &Item<'a>, values: &mut Values, around: &Header) {
        let allowed = self.allowed(index, around);
        let rule = &self.plan.rules[index];
        let free = allowed & !values.given | rule.overrides & values.given;
        let wanted = free & !values.ruled;
        let useful = wanted != 0 || O::WANTS_ALL_RULES;
        if useful && self.holds(&rule.selector, item, values, around) {
            self.observer.matched(index);
            self.apply(index, wanted, item, values, around);
        }
    }

    /// What rule `index` may set below the scope at hand where no sender gave it. One that can change nothing there
    /// is no candidate any more.
    #[inline]
    fn allowed(&mut self, index: usize, around: &Header) -> Mask {
        if !self.scratch.tested.contains(index) {
            self.test(index, around);
        }
        self.scratch.allowed[index]
    }

    fn test(&mut self, index: usize, around: &Header) {
        let rule = &self.plan.rules[index];
        let mut allowed = self
            .scratch
            .analysis
            .headers
            .changeable(around, rule, index);
        let useless = (allowed | rule.overrides) == 0 && !O::WANTS_ALL_RULES;
        if useless || !self.header_holds(&rule.selector) {
            allowed = 0;
            self.scratch.candidates.remove(index);
        }
        self.scratch.tested.insert(index);
        self.scratch.allowed[index] = allowed;
    }

    /// Whether the item satisfies the selector, whose conditions on scope and resource hold.
    #[inline]
    fn holds(
        &self,
        selector: &Selector,
        item: &Item<'a>,
        values: &Values,
        around: &Header,
    ) -> bool {
        let is_in = |bits: u32, number: u64| bits == 0 || number < 32 && bits & 1 << number != 0;
        is_in(selector.statuses, item.status)
            && is_in(selector.kinds, item.kind)
            && (selector.name.as_ref()).is_none_or(|one| one.holds(item.name.map(AnyValue::Str)))
            && (selector.attributes.iter()).all(|(lookup, one)| match lookup {
                Lookup::Slot(slot) => one.holds(self.scratch.item.slot(*slot)),
                Lookup::Canonical(attribute) => match self.so_far(*attribute, values, around) {
                    Some(value) => value.with_any(|value| one.holds(Some(value))),
                    None => one.holds(None),
                },
            })
            && (selector.event.as_ref()).is_none_or(|one| {
                item.events()
                    .any(|event| one.holds(Some(AnyValue::Str(event_name(event)))))
            })
    }

    fn so_far(&self, attribute: usize, values: &Values, around: &Header) -> Option<Value<'a>> {
        match values.have & 1 << attribute {
            0 => self.scratch.analysis.headers.value(around, attribute),
            _ => Some(self.scratch.current[attribute]),
        }
    }

    fn apply(
        &mut self,
        index: usize,
        wanted: Mask,
        item: &Item<'a>,
        values: &mut Values,
        around: &Header,
    ) {
        let sets = self.plan.rules[index].set.iter();
        for set in sets.filter(|set| wanted & 1 << set.attribute != 0) {
            let found = self.source(set, item, values, around);
            if let Some(value) = self.admitted(set, found) {
                self.observer.ruled(index, set.attribute, value);
                self.scratch.current[set.attribute] = value;
                values.have |= 1 << set.attribute;
                values.ruled |= 1 << set.attribute;
            }
        }
    }

    fn source(
        &self,
        set: &'a Set,
        item: &Item<'a>,
        values: &Values,
        around: &Header,
    ) -> Option<Value<'a>> {
        let known = |attribute| self.so_far(attribute, values, around);
        match &set.from {
            From::Ready(literal) | From::Value(literal) => Some(scalar(literal)),
            From::Resource(slots) => self.scratch.resource.first_of(slots),
            From::Name => Value::of(AnyValue::Str(item.name?)),
            From::Attributes(lookups) => lookups.iter().find_map(|lookup| match lookup {
                Lookup::Slot(slot) => self.scratch.item.slot(*slot).and_then(Value::of),
                Lookup::Canonical(attribute) => known(*attribute),
            }),
            From::Anywhere(lookups) => self.nearest(lookups, item.stage(), known),
            From::Event(name, keys) => {
                let events = item.events().filter(|event| event_name(event) == name);
                first_of(events.last()?, span::EVENT_ATTRIBUTES, keys)
            }
        }
    }

    /// Notes the values of the item, and gives the attributes that are replaced; what it carries already, or its scope
    /// and resource do, is not to be written, and is noted only where `all` are.
    #[inline]
    fn record(&mut self, values: &Values, around: &Header, all: bool) -> Mask {
        let scratch = &mut *self.scratch;
        let own = scratch.item.own;
        let mut replaced = 0;
        for attribute in members(values.have | (own & around.have)) {
            let bit = 1 << attribute;
            let outer = scratch.analysis.headers.value(around, attribute);
            let value = match values.have & bit {
                0 => outer,
                _ => Some(scratch.current[attribute]),
            };
            let Some(value) = value else { continue };
            let stands = match own & bit {
                0 => outer,
                _ => scratch.item.own_value(attribute),
            };
            let write = stands != Some(value);
            if write {
                replaced |= own & bit;
            } else if own & bit == 0 || !all {
                continue;
            }
            scratch.analysis.entries.push(Entry {
                attribute: attribute as u8,
                value,
                write,
            });
        }
        replaced
    }

    /// The first usable of `lookups`, on the item, else on the scope, else on the resource; of a canonical attribute
    /// what is known.
    pub fn nearest(
        &self,
        lookups: &[Lookup],
        stage: Stage,
        known: impl Fn(usize) -> Option<Value<'a>>,
    ) -> Option<Value<'a>> {
        let lists: &[&Gathered<'a>] = match stage {
            Stage::Resource => &[&self.scratch.resource],
            Stage::Scope => &[&self.scratch.scope, &self.scratch.resource],
            _ => &[
                &self.scratch.item,
                &self.scratch.scope,
                &self.scratch.resource,
            ],
        };
        lists.iter().find_map(|list| {
            lookups.iter().find_map(|lookup| match lookup {
                Lookup::Slot(slot) => list.slot(*slot).and_then(Value::of),
                Lookup::Canonical(attribute) => known(*attribute),
            })
        })
    }

    /// What a rule's source gave, taken apart, translated, admitted and in its one form.
    pub fn admitted(&mut self, set: &'a Set, found: Option<Value<'a>>) -> Option<Value<'a>> {
        if let From::Ready(_) = set.from {
            return found;
        }
        let value = set.value(found?, &mut self.scratch.set_memos)?;
        let domain = &self.plan.attributes[set.attribute].domain;
        Some(self.normalised(set.attribute, domain.admit(value)?))
    }

    pub fn normalised(&mut self, attribute: usize, value: Value<'a>) -> Value<'a> {
        let domain = &self.plan.attributes[attribute].domain;
        domain.normalise_by(&mut self.scratch.memos[attribute], value)
    }

    pub fn note_unexpected(&mut self, of: impl Fn(&Scratch<'a>) -> Mask) {
        let unexpected = of(self.scratch);
        if unexpected != 0 {
            let analysis = &mut self.scratch.analysis;
            let resource = analysis.resources.len() as u32 - 1;
            analysis.unexpected.push((resource, unexpected));
        }
    }
}
