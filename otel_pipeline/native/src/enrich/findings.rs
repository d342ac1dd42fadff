//! What could not be resolved, by sender and attribute: counted as batches pass, told when somebody asks.
#![forbid(unsafe_code)]

use rustc_hash::FxHashMap;

use super::analysis::Analysis;
use super::plan::{Mask, Plan};
use super::rule_set::members;

/// The name of all senders above the limit.
const OTHER: &str = "_other";

/// Longer names of senders are cut.
const MAX_NAME_CHARS: usize = 100;

/// Items or values by sender (`service.name`, empty where there is none) and attribute key.
pub type Counts = Vec<(String, String, u64)>;

#[derive(Default)]
struct Sender {
    name: String,
    /// By attribute.
    unresolved: Vec<u64>,
    unexpected: Vec<u64>,
}

/// Counts of a bounded number of senders.
pub struct Findings {
    limit: usize,
    attributes: usize,
    /// The first takes those above the limit.
    senders: Vec<Sender>,
    by_name: FxHashMap<String, usize>,
}

impl Findings {
    pub fn new(plan: &Plan, limit: usize) -> Self {
        let mut findings = Self {
            limit,
            attributes: plan.attributes.len(),
            senders: Vec::new(),
            by_name: FxHashMap::default(),
        };
        findings.insert(OTHER);
        findings
    }

    fn insert(&mut self, name: &str) -> usize {
        self.by_name.insert(name.to_owned(), self.senders.len());
        self.senders.push(Sender {
            name: name.to_owned(),
            unresolved: vec![0; self.attributes],
            unexpected: vec![0; self.attributes],
        });
        self.senders.len() - 1
    }

    fn index(&mut self, name: &str) -> usize {
        let end = name.char_indices().nth(MAX_NAME_CHARS);
        let name = end.map_or(name, |(end, _)| &name[..end]);
        match self.by_name.get(name) {
            Some(index) => *index,
            None if self.senders.len() > self.limit => 0,
            None => self.insert(name),
        }
    }

    /// Adds what an analysis found, inheritance done.
    pub fn add(&mut self, plan: &Plan, analysis: &Analysis<'_>) {
        let mut last = (u32::MAX, 0);
        let mut sender = |findings: &mut Self, resource: u32| {
            if last.0 != resource {
                let name = analysis.resources[resource as usize].sender;
                last = (resource, findings.index(name));
            }
            last.1
        };
        for span in &analysis.spans {
            let missing = plan.expected & !span.have;
            if missing != 0 {
                let sender = sender(self, analysis.scope(span).resource);
                count(&mut self.senders[sender].unresolved, missing, 1);
            }
        }
        for missing in &analysis.missing {
            let sender = sender(self, missing.resource);
            let unresolved = &mut self.senders[sender].unresolved;
            count(unresolved, missing.attributes, missing.items);
        }
        for (resource, unexpected) in &analysis.unexpected {
            let sender = sender(self, *resource);
            count(&mut self.senders[sender].unexpected, *unexpected, 1);
        }
    }

    /// Gives what was counted since the last call: items without a value, and values of unexpected type.
    pub fn take(&mut self, plan: &Plan) -> (Counts, Counts) {
        let mut taken = (Counts::new(), Counts::new());
        for sender in &mut self.senders {
            let name = &sender.name;
            drain(&mut sender.unresolved, plan, name, &mut taken.0);
            drain(&mut sender.unexpected, plan, name, &mut taken.1);
        }
        taken
    }
}

fn count(counts: &mut [u64], attributes: Mask, items: u64) {
    for attribute in members(attributes) {
        counts[attribute] += items;
    }
}

fn drain(counts: &mut [u64], plan: &Plan, sender: &str, taken: &mut Counts) {
    for (count, attribute) in counts.iter_mut().zip(&plan.attributes) {
        let count = std::mem::take(count);
        if count != 0 {
            taken.push((sender.to_owned(), attribute.key.clone(), count));
        }
    }
}
