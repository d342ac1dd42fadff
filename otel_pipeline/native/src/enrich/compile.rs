//! From the JSON that `otel_pipeline.semconv.compile` writes to a `Plan`.
#![forbid(unsafe_code)]

use rustc_hash::FxHashMap;
use serde::Deserialize;

use super::plan::{Attribute, From, KeyUse, Lookup, Mask, Plan, Rule, Selector, Set, Stage};
use super::rule_set::RuleSet;
use super::value::{Domain, DomainSpec, encoded_key};
use crate::matcher::{Matcher, MatcherSpec, Scalar, compile_regex};

#[derive(Deserialize)]
struct PlanSpec {
    attributes: Vec<AttributeSpec>,
    senders: Vec<SelectorSpec>,
    rules: Vec<RuleSpec>,
}

#[derive(Deserialize)]
struct AttributeSpec {
    key: String,
    aliases: Vec<String>,
    inherit: bool,
    expected: bool,
    domain: DomainSpec,
}

#[derive(Deserialize)]
struct SelectorSpec {
    resource: Vec<(String, MatcherSpec)>,
    scope_name: Option<MatcherSpec>,
    scope_version: Option<MatcherSpec>,
    scope_attributes: Vec<(String, MatcherSpec)>,
    name: Option<MatcherSpec>,
    kinds: Vec<u8>,
    statuses: Vec<u8>,
    event: Option<MatcherSpec>,
    attributes: Vec<(String, MatcherSpec)>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
enum ItemSpec {
    Span,
    Event,
    Point,
}

fn span() -> Option<ItemSpec> {
    Some(ItemSpec::Span)
}

#[derive(Deserialize)]
struct RuleSpec {
    id: String,
    /// What the rule is for; None for all items.
    #[serde(default = "span")]
    item: Option<ItemSpec>,
    sender: Option<usize>,
    selector: SelectorSpec,
    set: Vec<SetSpec>,
}

#[derive(Deserialize)]
struct SetSpec {
    attribute: usize,
    from: FromSpec,
    regex: Option<String>,
    table: Vec<(String, Scalar)>,
    #[serde(rename = "override")]
    overrides: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FromSpec {
    Value(Scalar),
    Attributes(Vec<String>),
    Anywhere(Vec<String>),
    Resource(Vec<String>),
    Event(String, Vec<String>),
    Name,
}

impl FromSpec {
    fn needs_item(&self) -> bool {
        matches!(self, Self::Attributes(_) | Self::Event(..) | Self::Name)
    }
}

impl Plan {
    /// Reads a plan; the error says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let spec: PlanSpec = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if spec.attributes.len() > Mask::BITS as usize {
            return Err(format!("more than {} canonical attributes", Mask::BITS));
        }
        let bits = |chosen: fn(&AttributeSpec) -> bool| mask(&spec.attributes, chosen);
        let (inherit, expected) = (bits(|one| one.inherit), bits(|one| one.expected));
        let mut keys = Keys::new(&spec.attributes);
        let (event_name, service_name) = (keys.slot("event.name"), keys.slot("service.name"));
        let senders = spec.senders.into_iter().map(|sender| keys.selector(sender));
        let senders = senders.collect::<Result<Vec<_>, _>>()?;
        let attributes = spec.attributes.into_iter().map(Attribute::new);
        let attributes = attributes.collect::<Result<Vec<_>, _>>()?;
        let none = RuleSet::of(spec.rules.len());
        let mut plan = Self {
            attributes,
            keys: FxHashMap::default(),
            slots: 0,
            memos: 0,
            event_name,
            service_name,
            sender_rules: vec![none.clone(); senders.len()],
            senders,
            general_rules: none.clone(),
            rules: Vec::with_capacity(spec.rules.len()),
            stages: std::array::from_fn(|_| none.clone()),
            always: none.clone(),
            named: none,
            names: FxHashMap::default(),
            inherit,
            expected,
        };
        for rule in spec.rules {
            let id = rule.id.clone();
            let added = plan.add(rule, &mut keys);
            added.map_err(|error| format!("rule {id}: {error}"))?;
        }
        plan.memos = keys.memos;
        (plan.keys, plan.slots) = (keys.uses, keys.keys_of_slots.len());
        Ok(plan)
    }

    fn add(&mut self, spec: RuleSpec, keys: &mut Keys) -> Result<(), String> {
        let index = self.rules.len();
        let (item, sender) = (spec.item, spec.sender);
        let rules = match sender {
            Some(sender) => self.sender_rules.get_mut(sender).ok_or("no such sender")?,
            None => &mut self.general_rules,
        };
        rules.insert(index);
        let rule = keys.rule(spec, &self.attributes)?;
        let needs_scope = rule.selector.needs_scope()
            || sender.is_some_and(|sender| self.senders[sender].needs_scope());
        let is_anywhere = |set: &Set| matches!(set.from, From::Anywhere(_));
        let anywhere = rule.set.iter().any(is_anywhere);
        let mut tried = Vec::new();
        if rule.at_header && !needs_scope {
            tried.push(Stage::Resource);
        }
        if rule.at_header && (needs_scope || anywhere) {
            tried.push(Stage::Scope);
        }
        if !rule.at_header || anywhere {
            tried.extend(item_stages(item));
        }
        for stage in tried {
            self.stages[stage as usize].insert(index);
        }
        self.wake(&rule, index, keys);
        self.rules.push(rule);
        Ok(())
    }

    /// Notes what on an item makes it worth trying the rule there.
    fn wake(&mut self, rule: &Rule, index: usize, keys: &mut Keys) {
        let empty = self.always.emptied();
        if let Some(names) = rule.selector.name.as_ref().and_then(Matcher::texts) {
            self.named.insert(index);
            for name in names {
                let woken = self.names.entry(name.to_owned());
                woken.or_insert_with(|| empty.clone()).insert(index);
            }
            return;
        }
        match needed_slots(rule) {
            Some(slots) => slots
                .into_iter()
                .for_each(|slot| keys.wake(slot, index, &empty)),
            None => self.always.insert(index),
        }
    }
}

/// Slots of which an item must have at least one for the rule to change anything; None where it could without.
fn needed_slots(rule: &Rule) -> Option<Vec<usize>> {
    for (lookup, condition) in &rule.selector.attributes {
        if let (Lookup::Slot(slot), false) = (lookup, condition.holds(None)) {
            return Some(vec![*slot]);
        }
    }
    let mut slots = Vec::new();
    for set in &rule.set {
        let lookups = match &set.from {
            From::Attributes(lookups) => lookups,
            // What scope and resource tell is told there; only the item's own attributes are left.
            From::Anywhere(lookups) if rule.at_header => lookups,
            _ if rule.at_header => continue,
            _ => return None,
        };
        for lookup in lookups {
            match lookup {
                Lookup::Slot(slot) => slots.push(*slot),
                Lookup::Canonical(_) => return None,
            }
        }
    }
    Some(slots)
}

/// Where an item of this kind is tried.
fn item_stages(item: Option<ItemSpec>) -> &'static [Stage] {
    match item {
        Some(ItemSpec::Span) => &[Stage::Span],
        Some(ItemSpec::Event) => &[Stage::Event],
        Some(ItemSpec::Point) => &[Stage::Point],
        None => &[Stage::Span, Stage::Event, Stage::Point],
    }
}

/// Whether scope and resource may decide a rule and carry its values, for whatever is below. What is said of log records
/// or data points alone stays with them.
fn may_stand_above(item: Option<ItemSpec>) -> bool {
    matches!(item, Some(ItemSpec::Span) | None)
}

fn mask(attributes: &[AttributeSpec], chosen: fn(&AttributeSpec) -> bool) -> Mask {
    let chosen = attributes.iter().enumerate().filter(|(_, one)| chosen(one));
    chosen.fold(0, |mask, (index, _)| mask | 1 << index)
}

impl Attribute {
    fn new(spec: AttributeSpec) -> Result<Self, String> {
        let domain = Domain::new(spec.domain);
        Ok(Self {
            encoded_key: encoded_key(&spec.key),
            domain: domain.map_err(|error| format!("attribute {}: {error}", spec.key))?,
            key: spec.key,
            aliases: spec.aliases,
        })
    }
}

/// The keys that anything in the plan asks for, while it is being compiled.
struct Keys {
    uses: FxHashMap<Box<[u8]>, KeyUse>,
    canonical: FxHashMap<String, usize>,
    keys_of_slots: Vec<Box<[u8]>>,
    memos: usize,
}

impl Keys {
    fn new(attributes: &[AttributeSpec]) -> Self {
        let mut keys = Self {
            uses: FxHashMap::default(),
            canonical: FxHashMap::default(),
            keys_of_slots: Vec::new(),
            memos: 0,
        };
        for (index, attribute) in attributes.iter().enumerate() {
            keys.canonical.insert(attribute.key.clone(), index);
            let all = std::iter::once(&attribute.key).chain(&attribute.aliases);
            for (preference, key) in all.take(usize::from(u8::MAX)).enumerate() {
                let key = key.clone().into_bytes().into_boxed_slice();
                let gives = &mut keys.uses.entry(key).or_default().gives;
                gives.push((index, preference as u8));
            }
        }
        keys
    }

    fn lookup(&mut self, key: &str) -> Lookup {
        match self.canonical.get(key) {
            Some(index) => Lookup::Canonical(*index),
            None => Lookup::Slot(self.slot(key)),
        }
    }

    fn lookups(&mut self, keys: &[String]) -> Vec<Lookup> {
        keys.iter().map(|key| self.lookup(key)).collect()
    }

    /// The slot of a key, as the sender wrote it.
    fn slot(&mut self, key: &str) -> usize {
        let key: Box<[u8]> = key.as_bytes().into();
        let slots = &mut self.keys_of_slots;
        let slot = &mut self.uses.entry(key.clone()).or_default().slot;
        *slot.get_or_insert_with(|| {
            slots.push(key);
            slots.len() - 1
        })
    }

    fn wake(&mut self, slot: usize, rule: usize, empty: &RuleSet) {
        let key = self.keys_of_slots.get(slot);
        if let Some(uses) = key.and_then(|key| self.uses.get_mut(key)) {
            let woken = uses.wakes.get_or_insert_with(|| empty.clone());
            woken.insert(rule);
        }
    }

    fn selector(&mut self, spec: SelectorSpec) -> Result<Selector, String> {
        Ok(Selector {
            resource: self.keyed(spec.resource, Self::slot)?,
            scope_name: spec.scope_name.map(Matcher::new).transpose()?,
            scope_version: spec.scope_version.map(Matcher::new).transpose()?,
            scope_attributes: self.keyed(spec.scope_attributes, Self::slot)?,
            name: spec.name.map(Matcher::new).transpose()?,
            kinds: bits(&spec.kinds),
            statuses: bits(&spec.statuses),
            event: spec.event.map(Matcher::new).transpose()?,
            attributes: self.keyed(spec.attributes, Self::lookup)?,
        })
    }

    fn keyed<P>(
        &mut self,
        specs: Vec<(String, MatcherSpec)>,
        place: fn(&mut Self, &str) -> P,
    ) -> Result<Vec<(P, Matcher)>, String> {
        let compiled = specs
            .into_iter()
            .map(|(key, spec)| Ok((place(self, &key), Matcher::new(spec)?)));
        compiled.collect()
    }

    fn rule(&mut self, spec: RuleSpec, attributes: &[Attribute]) -> Result<Rule, String> {
        let selector = self.selector(spec.selector)?;
        let (mut sets, mut overrides) = (0, 0);
        let mut at_header = may_stand_above(spec.item) && !selector.needs_item();
        let mut set = Vec::with_capacity(spec.set.len());
        for one in spec.set {
            if one.attribute >= attributes.len() {
                return Err("no such attribute".to_owned());
            }
            sets |= 1 << one.attribute;
            overrides |= Mask::from(one.overrides) << one.attribute;
            at_header &= !one.from.needs_item() && !one.overrides;
            set.push(self.set(one)?.prepared(attributes));
        }
        Ok(Rule {
            selector,
            set,
            at_header,
            sets,
            overrides,
        })
    }

    fn set(&mut self, spec: SetSpec) -> Result<Set, String> {
        let regex = spec.regex.map(|pattern| compile_regex(&pattern));
        self.memos += 1;
        Ok(Set {
            attribute: spec.attribute,
            from: match spec.from {
                FromSpec::Value(value) => From::Value(value),
                FromSpec::Attributes(keys) => From::Attributes(self.lookups(&keys)),
                FromSpec::Anywhere(keys) => From::Anywhere(self.lookups(&keys)),
                FromSpec::Resource(keys) => {
                    From::Resource(keys.iter().map(|key| self.slot(key)).collect())
                }
                FromSpec::Event(name, keys) => From::Event(name, keys),
                FromSpec::Name => From::Name,
            },
            regex: regex.transpose()?,
            table: spec.table,
            memo: self.memos - 1,
        })
    }
}

fn bits(numbers: &[u8]) -> u32 {
    numbers.iter().fold(0, |bits, number| {
        bits | 1u32.checked_shl(u32::from(*number)).unwrap_or(0)
    })
}
