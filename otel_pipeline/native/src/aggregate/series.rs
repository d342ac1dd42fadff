//! The series of each metric: cumulative sums, histograms and gauges, with a limit on how many there may be.
#![forbid(unsafe_code)]

use super::hash::HashMap;
use super::intern::{Interner, Symbol};
use super::labels::Label;
use super::plan::{Instrument, MAX_EXEMPLAR_ATTRIBUTES, MetricPlan};
use super::rows::Rows;
use super::streams::Reading;

/// Where and when an observation was made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Observation {
    pub trace_id: u128,
    /// 0 where there is no span to show.
    pub span_id: u64,
    /// End of the span, or the time of the log record or data point; Unix time.
    pub time_ns: u64,
    pub attributes: [Symbol; MAX_EXEMPLAR_ATTRIBUTES],
}

/// What is observed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    One,
    /// Whole, so that the order of addition makes no difference.
    Nanoseconds(u64),
    Number(f64),
}

pub struct Exemplar {
    pub seen: Observation,
    pub value: f64,
    pub bucket: usize,
    /// Counts up with every exemplar of a metric: the higher, the later.
    pub order: u64,
}

pub struct Series {
    /// Symbols of the label values in the order of the metric's labels; None for the overflow series.
    pub labels: Option<Box<[Symbol]>>,
    pub start_unix_ns: u64,
    pub count: u64,
    sum_ns: u128,
    /// What was not observed in nanoseconds; of a gauge the latest value.
    sum: f64,
    /// One more than the bounds; of other metrics than histograms one.
    pub buckets: Vec<u64>,
    /// The latest of each bucket.
    pub exemplars: Vec<Exemplar>,
    touched_ns: u64,
    /// Of a gauge: when its value was the latest.
    time_ns: u64,
    changed: bool,
}

/// A metric and its series.
pub struct Family {
    pub plan: MetricPlan,
    pub labels: Vec<Label>,
    pub series: Vec<Series>,
    /// Instead of series, where the plan asks for rows.
    pub rows: Rows,
    /// Observations that went to the overflow series.
    pub overflowed: u64,
    /// Observations that cannot be added up: negative ones of what never falls.
    pub refused: u64,
    /// Whether all it counts is ones.
    pub is_whole: bool,
    by_labels: HashMap<Box<[Symbol]>, usize>,
    overflow: Option<usize>,
    changed: Vec<usize>,
    key: Vec<Symbol>,
    /// Nanoseconds in the unit.
    pub divisor: f64,
    most_series: usize,
    exemplars: u64,
}

/// When things are, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Monotonic.
    pub now_ns: u64,
    /// Unix time of the last flush: a series that is born now held nothing then.
    pub start_unix_ns: u64,
}

impl Family {
    /// `is_whole`: all it counts is ones. The error is that of a bad label.
    pub fn new(
        mut plan: MetricPlan,
        is_whole: bool,
        limit: usize,
        interner: &mut Interner,
    ) -> Result<Self, String> {
        let labels = std::mem::take(&mut plan.labels).into_iter();
        let labels = labels.map(|label| Label::new(label, interner));
        let labels = labels.collect::<Result<_, _>>();
        for text in plan.constants.iter().flat_map(|constant| &constant.labels) {
            interner.intern(text);
        }
        Ok(Self {
            labels: labels.map_err(|error| format!("{}: {error}", plan.name))?,
            series: Vec::new(),
            rows: Rows::default(),
            overflowed: 0,
            refused: 0,
            is_whole,
            by_labels: HashMap::default(),
            overflow: None,
            changed: Vec::new(),
            key: Vec::new(),
            divisor: plan.nanoseconds_per_unit().unwrap_or(1.0),
            most_series: if limit == 0 { usize::MAX } else { limit - 1 },
            exemplars: 0,
            plan,
        })
    }

    /// Adds one observation to the series of these label values, in the order of the labels, before they are given
    /// their form.
    #[inline]
    pub fn record(
        &mut self,
        values: impl Iterator<Item = Symbol>,
        amount: Amount,
        seen: &Observation,
        moment: Moment,
        interner: &mut Interner,
    ) {
        let value = self.value(amount);
        let never_falls = matches!(
            self.plan.instrument,
            Instrument::Counter | Instrument::Histogram
        );
        if !value.is_finite() || (value < 0.0 && never_falls) {
            self.refused += 1;
            return;
        }
        if self.plan.instrument == Instrument::Rows {
            return self.keep_row(values, (amount, value), seen.time_ns, interner);
        }
        let Some(at) = self.find(values, moment, interner) else {
            return;
        };
        let (bucket, is_gauge) = (self.bucket(value), self.is_gauge());
        let series = &mut self.series[at];
        if is_gauge {
            series.replace(value, seen.time_ns);
        } else {
            series.add(amount, bucket);
        }
        self.touch(at, moment);
        if self.plan.max_exemplars > 0 && seen.trace_id != 0 && seen.span_id != 0 {
            self.exemplars += 1;
            self.series[at].keep_exemplar(Exemplar {
                seen: *seen,
                value,
                bucket,
                order: self.exemplars,
            });
        }
    }

    /// Adds a whole histogram to the series of these label values: what was in a bucket is counted where the upper end
    /// of that bucket belongs. `scale` makes its numbers those of the metric's unit.
    pub fn record_distribution(
        &mut self,
        values: impl Iterator<Item = Symbol>,
        added: &Reading,
        bounds: &[f64],
        scale: f64,
        moment: Moment,
        interner: &mut Interner,
    ) {
        if added.value < 0.0 {
            self.refused += 1;
            return;
        }
        let Some(at) = self.find(values, moment, interner) else {
            return;
        };
        let uppers = bounds.iter().copied().chain([f64::INFINITY]);
        for (count, upper) in added.counts.iter().zip(uppers) {
            let bucket = self.bucket(upper * scale);
            let series = &mut self.series[at];
            series.buckets[bucket] = series.buckets[bucket].saturating_add(*count);
            series.count = series.count.saturating_add(*count);
        }
        self.series[at].sum += added.value * scale;
        self.touch(at, moment);
    }

    fn keep_row(
        &mut self,
        values: impl Iterator<Item = Symbol>,
        (amount, value): (Amount, f64),
        time_ns: u64,
        interner: &mut Interner,
    ) {
        self.key.clear();
        let shown = self.labels.iter_mut().zip(values);
        self.key
            .extend(shown.map(|(label, value)| label.shown(value, interner)));
        let is_kept = self.rows.add(&self.key, amount, value, time_ns);
        self.overflowed += u64::from(!is_kept);
    }

    /// Says that a series is to be flushed.
    #[inline]
    fn touch(&mut self, at: usize, moment: Moment) {
        let series = &mut self.series[at];
        series.touched_ns = moment.now_ns;
        if !series.changed {
            series.changed = true;
            self.changed.push(at);
        }
    }

    /// The series of these label values; None where there is no room and no overflow series.
    #[inline]
    fn find(
        &mut self,
        values: impl Iterator<Item = Symbol>,
        moment: Moment,
        interner: &mut Interner,
    ) -> Option<usize> {
        self.key.clear();
        let shown = self.labels.iter_mut().zip(values);
        self.key
            .extend(shown.map(|(label, value)| label.shown(value, interner)));
        if let Some(at) = self.by_labels.get(self.key.as_slice()) {
            return Some(*at);
        }
        if self.by_labels.len() >= self.most_series {
            self.overflowed += 1;
            return self.find_overflow(moment);
        }
        let labels: Box<[Symbol]> = self.key.as_slice().into();
        let at = self.give_birth(Some(labels.clone()), moment);
        self.by_labels.insert(labels, at);
        Some(at)
    }

    /// Gauges have none: there is no sum of them to keep exact.
    fn find_overflow(&mut self, moment: Moment) -> Option<usize> {
        if self.overflow.is_none() && self.plan.instrument != Instrument::Gauge {
            self.overflow = Some(self.give_birth(None, moment));
        }
        self.overflow
    }

    fn give_birth(&mut self, labels: Option<Box<[Symbol]>>, moment: Moment) -> usize {
        self.series.push(Series {
            labels,
            start_unix_ns: moment.start_unix_ns,
            count: 0,
            sum_ns: 0,
            sum: 0.0,
            buckets: vec![0; self.plan.buckets.len() + 1],
            exemplars: Vec::new(),
            touched_ns: 0,
            time_ns: 0,
            changed: false,
        });
        self.series.len() - 1
    }

    fn bucket(&self, value: f64) -> usize {
        if self.plan.instrument != Instrument::Histogram {
            return 0;
        }
        self.plan.buckets.partition_point(|bound| *bound < value)
    }

    /// An amount in the metric's unit.
    fn value(&self, amount: Amount) -> f64 {
        match amount {
            Amount::One => 1.0,
            Amount::Nanoseconds(duration_ns) => duration_ns as f64 / self.divisor,
            Amount::Number(number) => number,
        }
    }

    pub fn is_gauge(&self) -> bool {
        self.plan.instrument == Instrument::Gauge
    }

    /// The sum of all observations of a series, or the latest of a gauge, in the metric's unit.
    pub fn sum(&self, series: &Series) -> f64 {
        series.sum_ns as f64 / self.divisor + series.sum
    }

    /// Gives the series of the plan's constants their values, so that the next flush has them.
    pub fn repeat_constants(&mut self, moment: Moment, interner: &mut Interner) {
        for constant in std::mem::take(&mut self.plan.constants) {
            let words: Vec<_> = constant
                .labels
                .iter()
                .map(|text| interner.intern(text))
                .collect();
            let seen = Observation::default();
            let amount = Amount::Number(constant.value);
            self.record(words.into_iter(), amount, &seen, moment, interner);
            self.plan.constants.push(constant);
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

    /// Names every symbol that a series or an exemplar holds, and lets go of all others.
    pub fn mark(&mut self, live: &mut dyn FnMut(Symbol)) {
        self.labels.iter_mut().for_each(Label::forget);
        self.rows.symbols().for_each(&mut *live);
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
    #[inline]
    fn add(&mut self, amount: Amount, bucket: usize) {
        self.count += 1;
        self.buckets[bucket] += 1;
        match amount {
            Amount::One => self.sum += 1.0,
            Amount::Nanoseconds(duration_ns) => self.sum_ns += u128::from(duration_ns),
            Amount::Number(number) => self.sum += number,
        }
    }

    /// A value of a gauge, if it is not older than the one it has.
    fn replace(&mut self, value: f64, time_ns: u64) {
        if time_ns >= self.time_ns {
            self.sum = value;
            self.time_ns = time_ns;
        }
    }

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
