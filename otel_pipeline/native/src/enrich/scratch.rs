//! What a pass works with: kept from batch to batch, so that a small batch costs no allocations.
#![forbid(unsafe_code)]

use super::analysis::Analysis;
use super::gather::{Gathered, emptied};
use super::memo::Memo;
use super::plan::{Mask, Plan, Taken};
use super::rule_set::RuleSet;
use super::value::{Form, Value};

/// The room of a pass.
pub struct Scratch<'a> {
    pub analysis: Analysis<'a>,
    pub resource: Gathered<'a>,
    pub scope: Gathered<'a>,
    pub item: Gathered<'a>,
    pub scope_name: &'a str,
    pub scope_version: &'a str,
    /// Log records or metrics until now.
    pub items: u32,
    /// The values of the item at hand by attribute, where it has one.
    pub current: Vec<Value<'a>>,
    /// For each attribute.
    pub memos: Vec<Memo<Form>>,
    /// For each set of a rule.
    pub set_memos: Vec<Memo<Taken>>,
    /// The rules whose sender the resource matches, and those whose sender resource and scope match.
    pub resource_rules: RuleSet,
    pub scope_rules: RuleSet,
    /// The rules that can still change something below the scope at hand; tested for that when first woken.
    pub candidates: RuleSet,
    pub tested: RuleSet,
    /// Whether any of them asks for a certain name.
    pub names_matter: bool,
    /// What each rule may set below the scope at hand where no sender gave it; only of tested rules.
    pub allowed: Vec<Mask>,
    /// The rules that the name of the item at hand wakes, and all that are woken.
    pub named: RuleSet,
    pub woken: RuleSet,
}

impl Scratch<'_> {
    pub fn new(plan: &Plan) -> Self {
        let none = || plan.always.emptied();
        Self {
            analysis: Analysis::default(),
            resource: Gathered::new(plan),
            scope: Gathered::new(plan),
            item: Gathered::new(plan),
            scope_name: "",
            scope_version: "",
            items: 0,
            current: vec![Value::Bool(false); plan.attributes.len()],
            memos: vec![Memo::default(); plan.attributes.len()],
            set_memos: vec![Memo::default(); plan.memos],
            resource_rules: none(),
            scope_rules: none(),
            candidates: none(),
            tested: none(),
            names_matter: false,
            allowed: vec![0; plan.rules.len()],
            named: none(),
            woken: none(),
        }
    }

    /// The same room for another batch.
    pub fn recycled<'b>(self) -> Scratch<'b> {
        let values = self.current.len();
        let mut current = emptied(self.current);
        current.resize(values, Value::Bool(false));
        Scratch {
            analysis: self.analysis.recycled(),
            resource: self.resource.recycled(),
            scope: self.scope.recycled(),
            item: self.item.recycled(),
            scope_name: "",
            scope_version: "",
            items: 0,
            current,
            memos: self.memos,
            set_memos: self.set_memos,
            resource_rules: self.resource_rules,
            scope_rules: self.scope_rules,
            candidates: self.candidates,
            tested: self.tested,
            names_matter: false,
            allowed: self.allowed,
            named: self.named,
            woken: self.woken,
        }
    }

    /// Whether a large batch has made this larger than is worth keeping.
    pub fn is_large(&self) -> bool {
        const MANY: usize = 4096;
        let analysis = &self.analysis;
        analysis.spans.capacity() > MANY
            || analysis.entries.capacity() > 4 * MANY
            || analysis.rows.capacity() > MANY
            || analysis.missing.capacity() > MANY
            || analysis.scopes.capacity() > MANY
    }
}
