//! The series of each metric: cumulative counters and histograms with a limit on how many there may be.
#![forbid(unsafe_code)]

use super::extract::Slots;
use super::hash::HashMap;
use super::intern::{ABSENT, Interner, Symbol};
use super::plan::{Instrument, MAX_EXEMPLAR_ATTRIBUTES, Measure, MetricPlan, Source};

/// One observation and where it was made.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    pub duration_ns: u64,
    pub trace_id: u128,
    pub span_id: u64,
    /// End of the span, Unix time.
    pub time_ns: u64,
    pub attributes: [Symbol; MAX_EXEMPLAR_ATTRIBUTES],
}

pub struct Exemplar {
    pub seen: Observation,
    pub bucket: usize,
    /// Counts up with every exemplar of a metric: the higher, the later.
    pub order: u64,
}

pub struct Series {
    /// Symbols of the label values in the order of the metric's labels; None for the overflow series.
    pub labels: Option<Box<[Symbol]>>,
    pub start_unix_ns: u64,
    pub count: u64,
    /// Whole nanoseconds, so that the order of addition makes no difference.
    pub sum_ns: u128,
    /// One more than the bounds; of a counter one.
    pub buckets: Vec<u64>,
    /// The latest of each bucket.
    pub exemplars: Vec<Exemplar>,
    touched_ns: u64,
    changed: bool,
}

pub struct Label {
    pub name: String,
    slot: usize,
    default: Symbol,
}

/// A metric and its series.
pub struct Family {
    pub plan: MetricPlan,
    pub labels: Vec<Label>,
    pub series: Vec<Series>,
    /// Observations that went to the overflow series.
    pub overflowed: u64,
    by_labels: HashMap<Box<[Symbol]>, usize>,
    overflow: Option<usize>,
    changed: Vec<usize>,
    key: Vec<Symbol>,
    divisor: f64,
    most_series: usize,
    exemplars: u64,
}

impl Family {
    pub fn new(plan: MetricPlan, limit: usize, slots: &mut Slots, interner: &mut Interner) -> Self {
        let labels = plan.labels.iter().map(|label| Label {
            name: label.name.clone(),
            slot: slots.label(&label.from),
            default: label
                .default
                .as_deref()
                .map_or(ABSENT, |text| interner.intern(text)),
        });
        Self {
            labels: labels.collect(),
            series: Vec::new(),
            overflowed: 0,
            by_labels: HashMap::default(),
            overflow: None,
            changed: Vec::new(),
            key: Vec::new(),
            divisor: plan.nanoseconds_per_unit().unwrap_or(1.0),
            most_series: if limit == 0 { usize::MAX } else { limit - 1 },
            exemplars: 0,
            plan,
        }
    }

    /// Whether the metric counts spans of `source`.
    pub fn counts(&self, source: Source) -> bool {
        self.plan.derivations.iter().any(|one| one.source == source)
    }

    pub fn slots(&self) -> impl Iterator<Item = usize> {
        self.labels.iter().map(|label| label.slot)
    }

    /// Adds one observation to the series that `slots` name. A series born now counts from `start_unix_ns`.
    pub fn record(
        &mut self,
        slots: &[Symbol],
        seen: &Observation,
        now_ns: u64,
        start_unix_ns: u64,
    ) {
        let at = self.find(slots, start_unix_ns);
        let bucket = self.bucket(seen.duration_ns);
        let series = &mut self.series[at];
        series.count += 1;
        series.sum_ns += u128::from(seen.duration_ns);
        series.buckets[bucket] += 1;
        series.touched_ns = now_ns;
        if !series.changed {
            series.changed = true;
            self.changed.push(at);
        }
        if self.plan.max_exemplars > 0 && seen.trace_id != 0 && seen.span_id != 0 {
            self.exemplars += 1;
            series.keep_exemplar(Exemplar {
                seen: *seen,
                bucket,
                order: self.exemplars,
            });
        }
    }

    fn find(&mut self, slots: &[Symbol], start_unix_ns: u64) -> usize {
        self.key.clear();
        self.key
            .extend(self.labels.iter().map(|label| match slots[label.slot] {
                ABSENT => label.default,
                symbol => symbol,
            }));
        if let Some(at) = self.by_labels.get(self.key.as_slice()) {
            return *at;
        }
        if self.by_labels.len() >= self.most_series {
            self.overflowed += 1;
            let at = match self.overflow {
                Some(at) => at,
                None => self.give_birth(None, start_unix_ns),
            };
            self.overflow = Some(at);
            return at;
        }
        let labels: Box<[Symbol]> = self.key.as_slice().into();
        let at = self.give_birth(Some(labels.clone()), start_unix_ns);
        self.by_labels.insert(labels, at);
        at
    }

    fn give_birth(&mut self, labels: Option<Box<[Symbol]>>, start_unix_ns: u64) -> usize {
        self.series.push(Series {
            labels,
            start_unix_ns,
            count: 0,
            sum_ns: 0,
            buckets: vec![0; self.plan.buckets.len() + 1],
            exemplars: Vec::new(),
            touched_ns: 0,
            changed: false,
        });
        self.series.len() - 1
    }

    fn bucket(&self, duration_ns: u64) -> usize {
        if self.plan.instrument == Instrument::Counter {
            return 0;
        }
        let value = self.value(duration_ns);
        self.plan.buckets.partition_point(|bound| *bound < value)
    }

    pub fn measure(&self) -> &Measure {
        let first = self.plan.derivations.first();
        first.map_or(&Measure::One, |one| &one.value)
    }

    /// What one observation of this duration counts, in the metric's unit.
    pub fn value(&self, duration_ns: u64) -> f64 {
        match self.measure() {
            Measure::One => 1.0,
            _ => duration_ns as f64 / self.divisor,
        }
    }

    /// The sum of all observations of a series, in the metric's unit.
    pub fn sum(&self, series: &Series) -> f64 {
        match self.measure() {
            Measure::One => series.count as f64,
            _ => series.sum_ns as f64 / self.divisor,
        }
    }

    /// The series that changed since the last call.
    pub fn take_changed(&mut self) -> Vec<usize> {
        for at in &self.changed {
            self.series[*at].changed = false;
        }
        std::mem::take(&mut self.changed)
    }

    /// Forgets series that were last touched at `before_ns` or earlier. None may be waiting to be taken.
    pub fn expire(&mut self, before_ns: u64) {
        if self
            .series
            .iter()
            .all(|series| series.touched_ns > before_ns)
        {
            return;
        }
        self.series.retain(|series| series.touched_ns > before_ns);
        self.by_labels.clear();
        self.overflow = None;
        for (at, series) in self.series.iter().enumerate() {
            match &series.labels {
                Some(labels) => _ = self.by_labels.insert(labels.clone(), at),
                None => self.overflow = Some(at),
            }
        }
    }

    /// Names every symbol that a series or an exemplar holds.
    pub fn mark(&self, live: &mut dyn FnMut(Symbol)) {
        for series in &self.series {
            series
                .labels
                .iter()
                .flat_map(|labels| labels.iter())
                .for_each(|symbol| live(*symbol));
            for exemplar in &series.exemplars {
                exemplar
                    .seen
                    .attributes
                    .iter()
                    .for_each(|symbol| live(*symbol));
            }
        }
    }
}

impl Series {
    fn keep_exemplar(&mut self, exemplar: Exemplar) {
        match self
            .exemplars
            .iter_mut()
            .find(|kept| kept.bucket == exemplar.bucket)
        {
            Some(kept) => *kept = exemplar,
            None => self.exemplars.push(exemplar),
        }
    }
}
