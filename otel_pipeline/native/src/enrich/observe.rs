//! Who is told what a pass finds; nobody, when telemetry is processed.
#![forbid(unsafe_code)]

use super::item::Item;
use super::value::Value;

/// Told of every resource, scope and item as it comes, and then what is found of it.
pub trait Observer<'a> {
    /// Whether rules are to be tried that could change nothing, so that all that match are told.
    const WANTS_ALL_RULES: bool = false;

    fn resource(&mut self, _body: &'a [u8]) {}

    fn scope(&mut self, _body: &'a [u8]) {}

    fn item(&mut self, _item: &Item<'a>) {}

    /// The sender gave a value, by the attribute's own key (preference 0) or an alias.
    fn sent(&mut self, _attribute: usize, _preference: u8, _value: Value<'a>) {}

    /// A rule matches.
    fn matched(&mut self, _rule: usize) {}

    /// It gave a value, in place of whatever was there.
    fn ruled(&mut self, _rule: usize, _attribute: usize, _value: Value<'a>) {}

    /// A span took over the value of another, both by index.
    fn inherited(&mut self, _span: usize, _from: usize, _attribute: usize, _value: Value<'a>) {}
}

impl Observer<'_> for () {}
