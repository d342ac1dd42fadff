//! What holds for all items of a resource or a scope: computed once for each, not once for each item.
#![forbid(unsafe_code)]

use super::gather::{Gathered, members};
use super::plan::{From, Level, Mask, Plan, Rule, Selector, Set, scalar};
use super::value::Value;
use crate::matcher::Matcher;
use crate::otlp::{AnyValue, RESOURCE_ATTRIBUTES, attributes, child, scope, text};

/// Rank of a value that is not there; 0 is a value from an attribute, n + 1 one from rule n.
const NOTHING: u32 = u32::MAX;

/// The canonical attributes at a resource or scope, and what has to be written there.
/// Sparse: a request may bring very many resources with nothing in them.
pub struct Header<'a> {
    /// Attribute, rank and value of what is in `have`.
    values: Vec<(u8, u32, Value<'a>)>,
    /// Attributes that have a value here or above.
    pub have: Mask,
    /// Those whose value a sender gave; no rule may change it.
    pub given: Mask,
    pub writes: Vec<(usize, Value<'a>)>,
    /// Attributes whose own key stands here and gets another value.
    pub replaced: Mask,
}

/// The rules of spans that can still change something below one scope.
pub struct Candidate {
    pub rule: usize,
    /// The attributes that it may set where no sender gave them.
    pub allowed: Mask,
}

impl<'a> Header<'a> {
    fn below(above: Option<&Header<'a>>) -> Self {
        Self {
            values: above.map_or_else(Vec::new, |above| above.values.clone()),
            have: above.map_or(0, |above| above.have),
            given: above.map_or(0, |above| above.given),
            writes: Vec::new(),
            replaced: 0,
        }
    }

    /// The value here; None where there is none.
    #[inline]
    pub fn value(&self, attribute: usize) -> Option<Value<'a>> {
        if self.have & 1 << attribute == 0 {
            return None;
        }
        self.entry(attribute).map(|(_, _, value)| *value)
    }

    fn entry(&self, attribute: usize) -> Option<&(u8, u32, Value<'a>)> {
        self.values
            .iter()
            .find(|(one, _, _)| usize::from(*one) == attribute)
    }

    fn rank(&self, attribute: usize) -> u32 {
        self.entry(attribute).map_or(NOTHING, |(_, rank, _)| *rank)
    }

    fn put(&mut self, attribute: usize, value: Value<'a>, rank: u32) {
        self.values
            .retain(|(one, _, _)| usize::from(*one) != attribute);
        self.values.push((attribute as u8, rank, value));
        self.have |= 1 << attribute;
        if rank == 0 {
            self.given |= 1 << attribute;
        }
    }

    /// The header of a resource.
    pub fn of_resource(plan: &'a Plan, gathered: &mut Gathered<'a>, resource: &'a [u8]) -> Self {
        let mut header = Self::below(None);
        header.take(plan, gathered, attributes(resource, RESOURCE_ATTRIBUTES));
        header.apply(plan, Level::Resource, resource, &[]);
        header.decide_writes(gathered, None);
        header
    }

    /// The header of a scope below `resource`, whose own header is `above`.
    pub fn of_scope(
        plan: &'a Plan,
        gathered: &mut Gathered<'a>,
        above: &Header<'a>,
        resource: &'a [u8],
        scope: &'a [u8],
    ) -> Self {
        let mut header = Self::below(Some(above));
        header.take(plan, gathered, attributes(scope, scope::ATTRIBUTES));
        header.apply(plan, Level::Scope, resource, scope);
        header.decide_writes(gathered, Some(above));
        header
    }

    fn take(
        &mut self,
        plan: &'a Plan,
        gathered: &mut Gathered<'a>,
        attributes: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) {
        gathered.clear();
        for (key, value) in attributes {
            gathered.add(plan, key, value);
        }
        for attribute in members(gathered.found) {
            let domain = &plan.attributes[attribute].domain;
            self.put(attribute, domain.normalise(gathered.best(attribute)), 0);
        }
    }

    /// Applies the rules of one level, in order. A value that an earlier rule of the level above gave stays.
    fn apply(&mut self, plan: &'a Plan, level: Level, resource: &'a [u8], scope: &'a [u8]) {
        for (index, rule) in plan
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.level == level)
        {
            let wanted = self.changeable(rule, index);
            if wanted == 0 || !header_holds(plan, rule, resource, scope) {
                continue;
            }
            for set in rule
                .set
                .iter()
                .filter(|set| wanted & 1 << set.attribute != 0)
            {
                let domain = &plan.attributes[set.attribute].domain;
                let value = header_source(set, resource).and_then(|value| set.translate(value));
                if let Some(value) = value.and_then(|value| domain.admit(value)) {
                    self.put(set.attribute, domain.normalise(value), index as u32 + 1);
                }
            }
        }
    }

    /// The attributes of `rule` that neither a sender nor an earlier rule has given a value at this level.
    fn changeable(&self, rule: &Rule, index: usize) -> Mask {
        members(rule.sets)
            .filter(|attribute| self.rank(*attribute) > index as u32)
            .fold(0, |mask, attribute| mask | 1 << attribute)
    }

    fn decide_writes(&mut self, gathered: &Gathered<'a>, above: Option<&Header<'a>>) {
        for &(attribute, _, value) in &self.values {
            let attribute = usize::from(attribute);
            let own = gathered.own & 1 << attribute != 0;
            let written = match own {
                true => gathered.own_value(attribute),
                false => above.and_then(|above| above.value(attribute)),
            };
            if written != Some(value) {
                self.writes.push((attribute, value));
                self.replaced |= gathered.own & 1 << attribute;
            }
        }
    }

    /// The span rules worth trying below this scope, in order.
    pub fn candidates(&self, plan: &Plan, resource: &[u8], scope: &[u8]) -> Vec<Candidate> {
        let rules = plan.rules.iter().enumerate();
        let rules = rules.filter(|(_, rule)| rule.level == Level::Span);
        rules
            .filter_map(|(index, rule)| {
                let allowed = self.changeable(rule, index);
                ((allowed | rule.overrides) != 0 && header_holds(plan, rule, resource, scope))
                    .then_some(Candidate {
                        rule: index,
                        allowed,
                    })
            })
            .collect()
    }
}

/// Whether resource and scope satisfy the rule and its sender.
fn header_holds(plan: &Plan, rule: &Rule, resource: &[u8], scope: &[u8]) -> bool {
    let sender = rule.sender.and_then(|sender| plan.senders.get(sender));
    sender.is_none_or(|sender| selector_holds(sender, resource, scope))
        && selector_holds(&rule.selector, resource, scope)
}

fn selector_holds(selector: &Selector, resource: &[u8], scope: &[u8]) -> bool {
    text_holds(&selector.scope_name, scope, scope::NAME)
        && text_holds(&selector.scope_version, scope, scope::VERSION)
        && (selector.resource.iter())
            .all(|(key, one)| one.holds(find(resource, RESOURCE_ATTRIBUTES, key)))
        && (selector.scope_attributes.iter())
            .all(|(key, one)| one.holds(find(scope, scope::ATTRIBUTES, key)))
}

fn text_holds(condition: &Option<Matcher>, message: &[u8], number: u32) -> bool {
    let holds = |one: &Matcher| one.holds(Some(AnyValue::Str(text(child(message, number)))));
    condition.as_ref().is_none_or(holds)
}

/// The first attribute of this key below field `number` of `message`.
pub fn find<'a>(message: &'a [u8], number: u32, key: &str) -> Option<AnyValue<'a>> {
    let mut all = attributes(message, number);
    let (_, value) = all.find(|(one, _)| *one == key.as_bytes())?;
    Some(AnyValue::parse(value))
}

/// The first usable of these attributes.
pub fn first_of<'a>(message: &'a [u8], number: u32, keys: &[String]) -> Option<Value<'a>> {
    keys.iter()
        .find_map(|key| find(message, number, key).and_then(Value::of))
}

fn header_source<'a>(set: &'a Set, resource: &'a [u8]) -> Option<Value<'a>> {
    let value = match &set.from {
        From::Value(literal) => Some(scalar(literal)),
        From::Resource(keys) => first_of(resource, RESOURCE_ATTRIBUTES, keys),
        From::Attributes(_) | From::Event(..) | From::Name => None,
    };
    value.and_then(|value| set.captured(value))
}
