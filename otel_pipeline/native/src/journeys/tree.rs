//! The tree of one trace's spans: each span once, parents before children, loops cut, the same whatever the order of
//! arrival.
#![forbid(unsafe_code)]

use super::spans::Span;
use crate::aggregate::hash::HashMap;

pub struct Tree {
    /// By start, then id: each span once.
    pub spans: Vec<Span>,
    /// Place of the parent, where it came.
    pub parents: Vec<Option<usize>>,
    /// All places, parents before children.
    pub order: Vec<usize>,
}

impl Tree {
    pub fn new(spans: Vec<Span>) -> Self {
        let spans = each_once(spans);
        let places: HashMap<u64, usize> =
            (0..).zip(&spans).map(|(at, span)| (span.id, at)).collect();
        let parent = |span: &Span| match span.parent_id {
            0 => None,
            id => places.get(&id).copied(),
        };
        let mut parents: Vec<_> = spans.iter().map(parent).collect();
        cut_loops(&mut parents);
        let order = sorted(&parents);
        Self {
            spans,
            parents,
            order,
        }
    }
}

/// Of a span that came in several versions, the one that ended last.
fn each_once(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by(|one, other| {
        let newest = other
            .end_ns
            .cmp(&one.end_ns)
            .then_with(|| other.item.cmp(&one.item));
        one.id.cmp(&other.id).then(newest)
    });
    spans.dedup_by(|one, other| one.id == other.id && (one.id != 0 || one.item == other.item));
    spans.sort_by(|one, other| {
        (one.start_ns, one.id, &one.item).cmp(&(other.start_ns, other.id, &other.item))
    });
    spans
}

/// Spans that are their own ancestors: the one that began first becomes a root.
fn cut_loops(parents: &mut [Option<usize>]) {
    let mut walks = vec![0usize; parents.len()];
    for from in 0..parents.len() {
        let mut at = from;
        while walks[at] == 0 {
            walks[at] = from + 1;
            match parents[at] {
                Some(parent) => at = parent,
                None => break,
            }
        }
        if walks[at] == from + 1 && parents[at].is_some() {
            let first = first_of_loop(parents, at);
            parents[first] = None;
        }
    }
}

fn first_of_loop(parents: &[Option<usize>], from: usize) -> usize {
    let (mut first, mut at) = (from, from);
    while let Some(parent) = parents[at] {
        at = parent;
        first = first.min(at);
        if at == from {
            break;
        }
    }
    first
}

fn sorted(parents: &[Option<usize>]) -> Vec<usize> {
    let mut done = vec![false; parents.len()];
    let (mut order, mut path) = (Vec::with_capacity(parents.len()), Vec::new());
    for from in 0..parents.len() {
        let mut next = Some(from);
        while let Some(at) = next.filter(|at| !done[*at]) {
            done[at] = true;
            path.push(at);
            next = parents[at];
        }
        order.extend(path.drain(..).rev());
    }
    order
}
