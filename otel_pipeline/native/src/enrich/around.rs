//! The part of a pass that looks at resources and scopes, once for all that is below them.
#![forbid(unsafe_code)]

use super::analysis::{ResourceRecord, ScopeRecord};
use super::decide::Pass;
use super::gather::Gathered;
use super::header::Header;
use super::observe::Observer;
use super::plan::{From, Selector, Stage, scalar};
use super::rule_set::members;
use crate::matcher::Matcher;
use crate::otlp::{AnyValue, RESOURCE_ATTRIBUTES, attributes, key_value, scope, text};
use crate::wire::{Value as WireValue, fields};

impl<'a, O: Observer<'a>> Pass<'_, 'a, O> {
    /// Takes in a resource.
    pub fn enter_resource(&mut self, resource: &'a [u8]) {
        let scratch = &mut *self.scratch;
        scratch.resource.clear();
        for (key, value) in attributes(resource, RESOURCE_ATTRIBUTES) {
            scratch.resource.add(self.plan, key, value);
        }
        scratch.scope.clear();
        (scratch.scope_name, scratch.scope_version) = ("", "");
        scratch.resource_rules.copy(&self.plan.general_rules);
        self.observer.resource(resource);
        self.match_senders(false);
        let header = self.header(Stage::Resource, None);
        let scratch = &mut *self.scratch;
        let sender = match scratch.resource.slot(self.plan.service_name) {
            Some(AnyValue::Str(name)) => name,
            _ => "",
        };
        let resources = &mut scratch.analysis.resources;
        resources.push(ResourceRecord { sender, header });
        self.note_unexpected(|scratch| scratch.resource.unexpected);
    }

    /// Takes in a scope below the resource.
    pub fn enter_scope(&mut self, scope: &'a [u8]) -> Header {
        self.read_scope(scope);
        self.match_senders(true);
        let above = self.scratch.analysis.resources.last();
        let above = above.map(|above| above.header);
        let header = self.header(Stage::Scope, above.as_ref());
        let scratch = &mut *self.scratch;
        scratch.analysis.scopes.push(ScopeRecord {
            resource: scratch.analysis.resources.len() as u32 - 1,
            header,
        });
        self.note_unexpected(|scratch| scratch.scope.unexpected);
        header
    }

    fn read_scope(&mut self, body: &'a [u8]) {
        self.observer.scope(body);
        let scratch = &mut *self.scratch;
        scratch.scope.clear();
        (scratch.scope_name, scratch.scope_version) = ("", "");
        for field in fields(body).flatten() {
            match (field.number, field.value) {
                (scope::NAME, WireValue::Bytes(name)) => scratch.scope_name = text(name),
                (scope::VERSION, WireValue::Bytes(version)) => {
                    scratch.scope_version = text(version);
                }
                (scope::ATTRIBUTES, WireValue::Bytes(body)) => {
                    let (key, value) = key_value(body);
                    scratch.scope.add(self.plan, key, value);
                }
                _ => {}
            }
        }
    }

    /// Adds the rules of the senders that are recognised: by the resource alone, or by the scope too.
    fn match_senders(&mut self, with_scope: bool) {
        if with_scope {
            let scratch = &mut *self.scratch;
            scratch.scope_rules.copy(&scratch.resource_rules);
        }
        for (sender, rules) in self.plan.senders.iter().zip(&self.plan.sender_rules) {
            if sender.needs_scope() == with_scope && self.header_holds(sender) {
                match with_scope {
                    true => self.scratch.scope_rules.add(rules),
                    false => self.scratch.resource_rules.add(rules),
                }
            }
        }
    }

    /// Whether resource and scope satisfy a selector.
    pub fn header_holds(&self, selector: &Selector) -> bool {
        let scratch = &*self.scratch;
        let text_holds = |condition: &Option<Matcher>, text: &str| {
            (condition.as_ref()).is_none_or(|one| one.holds(Some(AnyValue::Str(text))))
        };
        let all_hold = |conditions: &[(usize, Matcher)], list: &Gathered<'a>| {
            conditions
                .iter()
                .all(|(slot, one)| one.holds(list.slot(*slot)))
        };
        text_holds(&selector.scope_name, scratch.scope_name)
            && text_holds(&selector.scope_version, scratch.scope_version)
            && all_hold(&selector.resource, &scratch.resource)
            && all_hold(&selector.scope_attributes, &scratch.scope)
    }

    /// The header of the resource or scope that was gathered last.
    fn header(&mut self, stage: Stage, above: Option<&Header>) -> Header {
        let mut header = self.scratch.analysis.headers.begin(above);
        let found = self.gathered(stage).found;
        for attribute in members(found) {
            if let Some((preference, raw)) = self.gathered(stage).best(attribute) {
                let value = self.normalised(attribute, raw);
                self.observer.sent(attribute, preference, value);
                let headers = &mut self.scratch.analysis.headers;
                headers.put(&mut header, attribute, value, 0);
            }
        }
        let plan = self.plan;
        for index in plan.stages[stage as usize].iter() {
            let matched = match stage {
                Stage::Resource => self.scratch.resource_rules.contains(index),
                _ => self.scratch.scope_rules.contains(index),
            };
            if matched {
                self.apply_above(stage, index, &mut header);
            }
        }
        let scratch = &mut *self.scratch;
        let gathered = match stage {
            Stage::Resource => &scratch.resource,
            _ => &scratch.scope,
        };
        scratch
            .analysis
            .headers
            .finish(&mut header, gathered, above);
        header
    }

    fn gathered(&self, stage: Stage) -> &Gathered<'a> {
        match stage {
            Stage::Resource => &self.scratch.resource,
            Stage::Scope => &self.scratch.scope,
            Stage::Span | Stage::Event | Stage::Point => &self.scratch.item,
        }
    }

    /// Applies one rule to a resource or scope. A value that an earlier rule of the level above gave stays.
    fn apply_above(&mut self, stage: Stage, index: usize, header: &mut Header) {
        let rule = &self.plan.rules[index];
        let wanted = self
            .scratch
            .analysis
            .headers
            .changeable(header, rule, index);
        let useless = wanted == 0 && !O::WANTS_ALL_RULES;
        if useless || !self.header_holds(&rule.selector) {
            return;
        }
        self.observer.matched(index);
        let sets = rule.set.iter();
        for set in sets.filter(|set| wanted & 1 << set.attribute != 0) {
            let value = match &set.from {
                From::Ready(literal) | From::Value(literal) => Some(scalar(literal)),
                From::Resource(slots) => self.scratch.resource.first_of(slots),
                From::Anywhere(lookups) => {
                    let known = |attribute| self.scratch.analysis.headers.value(header, attribute);
                    self.nearest(lookups, stage, known)
                }
                From::Attributes(_) | From::Event(..) | From::Name => None,
            };
            if let Some(value) = self.admitted(set, value) {
                self.observer.ruled(index, set.attribute, value);
                let headers = &mut self.scratch.analysis.headers;
                headers.put(header, set.attribute, value, index as u32 + 1);
            }
        }
    }
}
