//! Observations that are handed out instead of being added up to series: spans of time that overlap are joined, and
//! amounts added, where their labels are the same. So there are few, however busy one requirement is.
#![forbid(unsafe_code)]

use super::hash::HashMap;
use super::intern::{Interner, Symbol};
use super::series::Amount;

/// Rows that may wait to be taken; what is over is counted.
const MAX_ROWS: usize = 100_000;

/// Time in Unix nanoseconds, value and labels of a row.
pub type TextRow = (u64, f64, Vec<String>);

struct Row {
    labels: Box<[Symbol]>,
    end_ns: u64,
    /// Nanoseconds before `end_ns`, or a sum.
    value: f64,
}

#[derive(Default)]
pub struct Rows {
    rows: Vec<Row>,
    /// The last row of each label set.
    latest: HashMap<Box<[Symbol]>, usize>,
}

impl Rows {
    /// Takes an observation in; false where there is no room.
    pub fn add(&mut self, labels: &[Symbol], amount: Amount, value: f64, end_ns: u64) -> bool {
        let latest = self.latest.get(labels).copied();
        if let Some(row) = latest.and_then(|at| self.rows.get_mut(at))
            && row.join(amount, value, end_ns)
        {
            return true;
        }
        if self.rows.len() >= MAX_ROWS {
            return false;
        }
        self.latest.insert(labels.into(), self.rows.len());
        self.rows.push(Row {
            labels: labels.into(),
            end_ns,
            value,
        });
        true
    }

    /// All rows since the last call.
    pub fn take(&mut self, interner: &Interner) -> Vec<TextRow> {
        self.latest.clear();
        let text = |symbol: &Symbol| interner.text(*symbol).to_owned();
        let rows = std::mem::take(&mut self.rows).into_iter();
        rows.map(|row| (row.end_ns, row.value, row.labels.iter().map(text).collect()))
            .collect()
    }

    /// All label values that are held.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.rows.iter().flat_map(|row| row.labels.iter().copied())
    }
}

impl Row {
    /// Makes this row cover another of the same labels, if they belong together.
    fn join(&mut self, amount: Amount, value: f64, end_ns: u64) -> bool {
        if !matches!(amount, Amount::Nanoseconds(_)) {
            self.value += value;
            self.end_ns = self.end_ns.max(end_ns);
            return true;
        }
        let (own, other) = (self.start_ns(), end_ns.saturating_sub(value as u64));
        if other > self.end_ns || own > end_ns {
            return false;
        }
        self.end_ns = self.end_ns.max(end_ns);
        self.value = (self.end_ns - own.min(other)) as f64;
        true
    }

    fn start_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.value as u64)
    }
}
