//! Spans without a value take that of their nearest ancestor in the batch.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::analysis::{Analysis, Entry, Run};
use super::observe::Observer;
use super::plan::Mask;
use super::rule_set::members;

const NONE: usize = usize::MAX;

#[derive(Clone, Copy, PartialEq)]
enum Visit {
    New,
    OnPath,
    Done,
}

/// Gives the attributes of `inherit` to spans whose ancestors have them. Each span is visited once, whatever the
/// parents claim; a link that is part of a circle counts as none, and of spans with one id the first is the parent.
pub fn inherit<'a>(analysis: &mut Analysis<'a>, inherit: Mask, observer: &mut impl Observer<'a>) {
    let known = analysis.spans.iter().fold(0, |mask, span| mask | span.have);
    let useful = |span: Mask| inherit & known & !span != 0;
    if !analysis.spans.iter().any(|span| useful(span.have)) {
        return;
    }
    let mut parents = parents(analysis);
    let mut visits = vec![Visit::New; parents.len()];
    let mut path = Vec::new();
    for start in 0..parents.len() {
        let mut at = start;
        while at != NONE && visits[at] == Visit::New {
            visits[at] = Visit::OnPath;
            path.push(at);
            at = parents[at];
        }
        if at != NONE && visits[at] == Visit::OnPath {
            let circle = path.iter().position(|one| *one == at).unwrap_or(0);
            path[circle..].iter().for_each(|one| parents[*one] = NONE);
        }
        while let Some(span) = path.pop() {
            visits[span] = Visit::Done;
            if parents[span] != NONE {
                take(analysis, span, parents[span], inherit, observer);
            }
        }
    }
}

/// The index of every span's parent, where the batch has it. Keyed with a random seed: ids are the sender's choice.
fn parents(analysis: &Analysis<'_>) -> Vec<usize> {
    let mut by_id = HashMap::with_capacity(analysis.spans.len());
    for (index, span) in analysis.spans.iter().enumerate() {
        by_id
            .entry((span.ids.trace_id, span.ids.span_id))
            .or_insert(index);
    }
    let parent =
        |(trace_id, parent_id): (&[u8], &[u8])| match parent_id.iter().all(|byte| *byte == 0) {
            true => NONE,
            false => by_id.get(&(trace_id, parent_id)).copied().unwrap_or(NONE),
        };
    let links = analysis
        .spans
        .iter()
        .map(|span| (span.ids.trace_id, span.ids.parent_id));
    links.map(parent).collect()
}

fn take<'a>(
    analysis: &mut Analysis<'a>,
    span: usize,
    parent: usize,
    inherit: Mask,
    observer: &mut impl Observer<'a>,
) {
    let missing = inherit & analysis.spans[parent].have & !analysis.spans[span].have;
    let first = analysis.inherited.len();
    for attribute in members(missing) {
        if let Some(value) = analysis.value(&analysis.spans[parent], attribute) {
            observer.inherited(span, parent, attribute, value);
            analysis.inherited.push(Entry {
                attribute: attribute as u8,
                value,
                write: true,
            });
            let record = &mut analysis.spans[span];
            record.have |= 1 << attribute;
            record.replaced |= record.own_keys & 1 << attribute;
        }
    }
    analysis.spans[span].inherited = Run::since(first, &analysis.inherited);
}
