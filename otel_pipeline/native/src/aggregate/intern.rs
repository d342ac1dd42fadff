//! Label values as small numbers, so that spans and series are compared without looking at text.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::hash::HashMap;

/// A label value. `ABSENT` is the empty text, which Prometheus does not tell from a missing label.
pub type Symbol = u32;
pub const ABSENT: Symbol = 0;

/// Longer label values are cut, at the start of a character.
pub const MAX_VALUE_BYTES: usize = 128;

const MIN_SWEEP: usize = 4096;

pub struct Interner {
    texts: Vec<Arc<str>>,
    symbols: HashMap<Arc<str>, Symbol>,
    free: Vec<Symbol>,
    pinned: usize,
    sweep_at: usize,
}

impl Default for Interner {
    fn default() -> Self {
        Self {
            texts: vec![Arc::from("")],
            symbols: HashMap::default(),
            free: Vec::new(),
            pinned: 1,
            sweep_at: MIN_SWEEP,
        }
    }
}

impl Interner {
    pub fn intern(&mut self, text: &str) -> Symbol {
        let text = cut(text);
        if text.is_empty() {
            return ABSENT;
        }
        match self.symbols.get(text) {
            Some(symbol) => *symbol,
            None => self.add(Arc::from(text)),
        }
    }

    fn add(&mut self, text: Arc<str>) -> Symbol {
        let symbol = self.free.pop().unwrap_or(self.texts.len() as Symbol);
        self.symbols.insert(text.clone(), symbol);
        match self.texts.get_mut(symbol as usize) {
            Some(place) => *place = text,
            None => self.texts.push(text),
        }
        symbol
    }

    #[inline]
    pub fn text(&self, symbol: Symbol) -> &str {
        &self.texts[symbol as usize]
    }

    /// Keeps what has been interned so far for ever.
    pub fn pin(&mut self) {
        self.pinned = self.texts.len();
    }

    /// Whether so much was added since the last sweep that another one is due.
    pub fn is_full(&self) -> bool {
        self.symbols.len() >= self.sweep_at
    }

    /// Forgets what `mark` does not name to its argument. Forgotten symbols read as the empty text until reused.
    pub fn sweep(&mut self, mark: impl FnOnce(&mut dyn FnMut(Symbol))) {
        let mut live = vec![false; self.texts.len()];
        live[..self.pinned].fill(true);
        mark(&mut |symbol| live[symbol as usize] = true);
        for (symbol, _) in live.iter().enumerate().filter(|(_, live)| !**live) {
            let nothing = self.texts[0].clone();
            let text = std::mem::replace(&mut self.texts[symbol], nothing);
            if self.symbols.remove(&text).is_some() {
                self.free.push(symbol as Symbol);
            }
        }
        self.sweep_at = MIN_SWEEP.max(self.symbols.len() * 2);
    }
}

fn cut(text: &str) -> &str {
    let longest = text.len().min(MAX_VALUE_BYTES);
    let end = (0..=longest).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}
