//! What holds for all items of a resource or a scope: computed once for each, not once for each item.
#![forbid(unsafe_code)]

use super::gather::{Gathered, emptied};
use super::plan::{Mask, Rule};
use super::rule_set::members;
use super::value::Value;

/// Rank of a value that is not there; 0 is a value from an attribute, n + 1 one from rule n.
const NOTHING: u32 = u32::MAX;

/// The canonical attributes at a resource or scope. Their values are in `Headers`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Header {
    values: (u32, u32),
    writes: (u32, u32),
    /// Attributes that have a value here or above.
    pub have: Mask,
    /// Those whose value a sender gave; no rule may change it.
    pub given: Mask,
    /// Attributes whose own key stands here and gets another value.
    pub replaced: Mask,
}

/// The values of all headers of a batch, in one list.
/// Sparse: a request may bring very many resources with nothing in them.
#[derive(Default)]
pub struct Headers<'a> {
    /// Attribute, rank and value of what is in `have`.
    values: Vec<(u8, u32, Value<'a>)>,
    /// What has to be written at the header itself.
    writes: Vec<(u8, Value<'a>)>,
}

impl<'a> Headers<'a> {
    pub fn recycled<'b>(self) -> Headers<'b> {
        Headers {
            values: emptied(self.values),
            writes: emptied(self.writes),
        }
    }

    /// A new header below another, to be built before any other is.
    pub fn begin(&mut self, above: Option<&Header>) -> Header {
        let first = self.values.len();
        let (above_first, above_end) = above.map_or((0, 0), |above| above.values);
        self.values
            .extend_from_within(above_first as usize..above_end as usize);
        Header {
            values: (first as u32, self.values.len() as u32),
            have: above.map_or(0, |above| above.have),
            given: above.map_or(0, |above| above.given),
            ..Header::default()
        }
    }

    /// The value at a header; None where there is none.
    #[inline]
    pub fn value(&self, header: &Header, attribute: usize) -> Option<Value<'a>> {
        if header.have & 1 << attribute == 0 {
            return None;
        }
        self.entry(header, attribute).map(|(_, _, value)| *value)
    }

    fn all(&self, header: &Header) -> &[(u8, u32, Value<'a>)] {
        &self.values[header.values.0 as usize..header.values.1 as usize]
    }

    fn entry(&self, header: &Header, attribute: usize) -> Option<&(u8, u32, Value<'a>)> {
        let mut all = self.all(header).iter();
        all.find(|(one, _, _)| usize::from(*one) == attribute)
    }

    /// Puts a value on the header that is being built.
    pub fn put(&mut self, header: &mut Header, attribute: usize, value: Value<'a>, rank: u32) {
        let first = header.values.0 as usize;
        let old = self.values[first..]
            .iter()
            .position(|(one, _, _)| usize::from(*one) == attribute);
        if let Some(old) = old {
            self.values.remove(first + old);
        }
        self.values.push((attribute as u8, rank, value));
        header.values.1 = self.values.len() as u32;
        header.have |= 1 << attribute;
        if rank == 0 {
            header.given |= 1 << attribute;
        }
    }

    /// The attributes of rule `index` that neither a sender nor an earlier rule has given a value at this header.
    pub fn changeable(&self, header: &Header, rule: &Rule, index: usize) -> Mask {
        let there = rule.sets & header.have;
        let rank = |attribute| self.entry(header, attribute).map_or(NOTHING, |one| one.1);
        let earlier = members(there).filter(|attribute| rank(*attribute) <= index as u32);
        earlier.fold(rule.sets, |mask, attribute| mask & !(1 << attribute))
    }

    /// Decides what is to be written at the header that has been built, whose own attributes are `gathered`.
    pub fn finish(&mut self, header: &mut Header, gathered: &Gathered<'a>, above: Option<&Header>) {
        let first = self.writes.len();
        for at in header.values.0..header.values.1 {
            let (attribute, _, value) = self.values[at as usize];
            let index = usize::from(attribute);
            let own = gathered.own & 1 << index != 0;
            let written = match own {
                true => gathered.own_value(index),
                false => above.and_then(|above| self.value(above, index)),
            };
            if written != Some(value) {
                self.writes.push((attribute, value));
                header.replaced |= gathered.own & 1 << index;
            }
        }
        header.writes = (first as u32, self.writes.len() as u32);
    }

    pub fn writes(&self, header: &Header) -> &[(u8, Value<'a>)] {
        &self.writes[header.writes.0 as usize..header.writes.1 as usize]
    }

    pub fn writes_any(&self) -> bool {
        !self.writes.is_empty()
    }
}
