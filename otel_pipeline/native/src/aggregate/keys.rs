//! The attribute keys that a plan asks for, found quickly: most attributes of most items are none of them.
#![forbid(unsafe_code)]

use crate::otlp::AnyValue;

/// What a key is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// The dense slot that takes its text.
    pub slot: Option<u32>,
    /// Its number among the watched keys, whose values are looked at where they are needed.
    pub watched: Option<u32>,
}

/// Texts by length; most of one length differ in their last bytes, so these are compared first.
#[derive(Debug, Default)]
pub struct Keys {
    by_length: Vec<Vec<Key>>,
    watched: u32,
}

#[derive(Debug)]
struct Key {
    end: u64,
    bytes: Box<[u8]>,
    asked: Asked,
}

/// The last eight bytes of a key.
#[inline]
fn end(key: &[u8]) -> u64 {
    match key.last_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => key.iter().fold(0, |end, byte| end << 8 | u64::from(*byte)),
    }
}

impl Keys {
    fn entry(&mut self, key: &str) -> &mut Asked {
        let bytes = key.as_bytes();
        let lengths = self.by_length.len().max(bytes.len() + 1);
        self.by_length.resize_with(lengths, Vec::new);
        let same_length = &mut self.by_length[bytes.len()];
        let known = same_length.iter().position(|known| *known.bytes == *bytes);
        let at = known.unwrap_or_else(|| {
            same_length.push(Key {
                end: end(bytes),
                bytes: bytes.into(),
                asked: Asked::default(),
            });
            same_length.len() - 1
        });
        &mut same_length[at].asked
    }

    /// Asks for the text of `key` in a dense slot.
    pub fn put_in_slot(&mut self, key: &str, slot: u32) {
        self.entry(key).slot = Some(slot);
    }

    /// Asks for the values of `key`; gives its number, the same for every call.
    pub fn watch(&mut self, key: &str) -> u32 {
        let next = self.watched;
        let watched = *self.entry(key).watched.get_or_insert(next);
        self.watched = next.max(watched + 1);
        watched
    }

    /// How many keys are watched.
    pub fn watched(&self) -> usize {
        self.watched as usize
    }

    /// What `key` is asked for.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<Asked> {
        let same_length = self.by_length.get(key.len())?;
        if same_length.is_empty() {
            return None;
        }
        let end = end(key);
        let known = same_length
            .iter()
            .find(|known| known.end == end && *known.bytes == *key)?;
        Some(known.asked)
    }
}

/// The watched attributes of one attribute list: number and AnyValue message, in wire order.
#[derive(Debug, Default)]
pub struct Seen<'a>(pub Vec<(u32, &'a [u8])>);

impl<'a> Seen<'a> {
    /// The first value of a watched key.
    pub fn get(&self, watched: u32) -> Option<AnyValue<'a>> {
        self.all(watched).next()
    }

    /// All values of a watched key, where a sender repeats it.
    pub fn all(&self, watched: u32) -> impl Iterator<Item = AnyValue<'a>> {
        let values = self.0.iter().filter(move |(one, _)| *one == watched);
        values.map(|(_, value)| AnyValue::parse(value))
    }
}

/// The watched attributes of an item and of what is around it.
#[derive(Debug, Default)]
pub struct Lists<'a> {
    pub resource: Seen<'a>,
    pub scope: Seen<'a>,
    pub item: Seen<'a>,
}
