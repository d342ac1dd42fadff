//! What a metric shows for a label: the value as it came, the enum member it stands for, or the word for its number.
#![forbid(unsafe_code)]

use super::intern::{ABSENT, Interner, Symbol};
use super::plan::LabelPlan;
use super::text::number_in;
use crate::enrich::value::{Domain, Value};

/// Values whose form is remembered, for each label.
const MEMO: usize = 64;

pub struct Label {
    pub name: String,
    /// What is shown where there is no value; `ABSENT` leaves the label out.
    default: Symbol,
    forms: Option<Box<Forms>>,
}

/// How values are changed before they are shown.
struct Forms {
    domain: Option<Domain>,
    buckets: Vec<(Symbol, f64)>,
    /// Values and what is shown for them, each at one place.
    memo: [(Symbol, Symbol); MEMO],
}

impl Label {
    /// The error is that of a bad domain, or of buckets that do not ascend.
    pub fn new(plan: LabelPlan, interner: &mut Interner) -> Result<Self, String> {
        let default = plan.default.map_or(ABSENT, |text| interner.intern(&text));
        let is_plain = plan.domain.is_none() && plan.buckets.is_empty();
        let buckets = plan.buckets.into_iter().map(|(word, upper)| {
            let upper = upper.unwrap_or(f64::INFINITY);
            (interner.intern(&word), upper)
        });
        let buckets: Vec<_> = buckets.collect();
        if !buckets.is_sorted_by(|(_, one), (_, next)| one < next) {
            return Err(format!("buckets of label {} do not ascend", plan.name));
        }
        let forms = Forms {
            domain: plan.domain.map(Domain::new).transpose()?,
            buckets,
            memo: [(ABSENT, ABSENT); MEMO],
        };
        Ok(Self {
            name: plan.name,
            default,
            forms: (!is_plain).then(|| Box::new(forms)),
        })
    }

    /// What is shown for `value`.
    #[inline]
    pub fn shown(&mut self, value: Symbol, interner: &mut Interner) -> Symbol {
        match &mut self.forms {
            _ if value == ABSENT => self.default,
            None => value,
            Some(forms) => forms.shown(value, self.default, interner),
        }
    }

    /// To be called when symbols are about to stand for other texts.
    pub fn forget(&mut self) {
        if let Some(forms) = &mut self.forms {
            forms.memo = [(ABSENT, ABSENT); MEMO];
        }
    }
}

impl Forms {
    fn shown(&mut self, value: Symbol, default: Symbol, interner: &mut Interner) -> Symbol {
        let place = value as usize % MEMO;
        if self.memo[place].0 != value {
            let form = if self.buckets.is_empty() {
                self.member(value, interner)
            } else {
                self.bucket(interner.text(value)).unwrap_or(default)
            };
            self.memo[place] = (value, form);
        }
        self.memo[place].1
    }

    fn member(&self, value: Symbol, interner: &mut Interner) -> Symbol {
        let text = Value::Text(interner.text(value));
        let Some(domain) = &self.domain else {
            return value;
        };
        match domain.admit(text).map(|text| domain.normalise(text)) {
            Some(Value::Text(form)) if form != interner.text(value) => {
                let form = form.to_owned();
                interner.intern(&form)
            }
            _ => value,
        }
    }

    fn bucket(&self, text: &str) -> Option<Symbol> {
        let number = number_in(text)?;
        let (word, _) = self.buckets.iter().find(|(_, upper)| number <= *upper)?;
        Some(*word)
    }
}
