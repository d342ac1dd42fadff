//! A map with bounds: what was not used for long is forgotten, and what was used least recently where it is full.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use crate::aggregate::hash::HashMap;

pub struct Recent<V> {
    known: HashMap<u64, (V, u64)>,
    /// Every key once, about in the order of last use.
    idle: VecDeque<(u64, u64)>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self {
            known: HashMap::default(),
            idle: VecDeque::new(),
        }
    }
}

impl<V: Default> Recent<V> {
    pub fn has(&self, key: u64) -> bool {
        self.known.contains_key(&key)
    }

    /// What is known, without using it.
    pub fn values(&mut self) -> impl Iterator<Item = &mut V> {
        self.known.values_mut().map(|(value, _)| value)
    }

    /// The value of a key that is known.
    pub fn get(&mut self, key: u64, now_ns: u64) -> Option<&mut V> {
        let (value, used_ns) = self.known.get_mut(&key)?;
        *used_ns = now_ns;
        Some(value)
    }

    /// The value of a key, made where there is none.
    pub fn entry(&mut self, key: u64, now_ns: u64) -> &mut V {
        let idle = &mut self.idle;
        let (value, used_ns) = self.known.entry(key).or_insert_with(|| {
            idle.push_back((now_ns, key));
            (V::default(), now_ns)
        });
        *used_ns = now_ns;
        value
    }

    /// Forgets one that was last used before `before_ns`, or the longest idle one above `most`; None where there is none.
    /// The flag says whether it had to go before its time.
    pub fn forget(&mut self, before_ns: u64, most: usize) -> Option<(V, bool)> {
        loop {
            let (noted_ns, key) = *self.idle.front()?;
            if noted_ns >= before_ns && self.known.len() <= most {
                return None;
            }
            self.idle.pop_front();
            let used_ns = self.known.get(&key).map_or(0, |(_, used_ns)| *used_ns);
            if used_ns > noted_ns {
                self.idle.push_back((used_ns, key));
                continue;
            }
            let (value, _) = self.known.remove(&key)?;
            return Some((value, noted_ns >= before_ns));
        }
    }
}
