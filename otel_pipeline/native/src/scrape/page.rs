//! Collects the samples of one page into families and points: buckets, quantiles, sums and counts find together.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use indexmap::IndexMap;
use indexmap::map::Entry;

use super::known::Metric;
use super::role::{Part, Role};
use super::sample::{
    Exemplar, Kind, Labels, MAX_LABELS, Meta, Native, Refused, Sample, nanoseconds,
};
use super::text::{self, Line};
use super::{Format, Rules, write};

const MAX_HELP_BYTES: usize = 4096;
const MAX_EXEMPLARS: usize = 64;
/// What `sample_limit` is where there is none: a page that has more wants to fill the memory.
const MAX_SAMPLES: u64 = 1_000_000;
/// Families that a page may have, and as many names with metadata: they cost more memory than their samples.
const MAX_FAMILIES: usize = 50_000;

/// What is known of one series of the page until now.
#[derive(Default)]
pub struct Point {
    pub time_ns: u64,
    /// The time stands on the page.
    pub timed: bool,
    /// Unix nanoseconds; 0 where the page does not say.
    pub created_ns: u64,
    pub value: Option<f64>,
    pub count: Option<f64>,
    pub sum: Option<f64>,
    /// Bounds with cumulative counts, or quantiles with values.
    pub parts: Vec<(f64, f64)>,
    pub exemplars: Vec<Exemplar>,
    pub native: Option<Box<Native>>,
}

pub struct Family {
    pub meta: Rc<Meta>,
    /// By the attributes, as they are written.
    pub points: IndexMap<Vec<u8>, Point>,
}

/// What comes from one job and instance.
#[derive(Default)]
pub struct Group {
    pub families: IndexMap<Metric, Family>,
    /// The labels of `target_info`: attributes of the resource.
    pub info: Vec<(String, String)>,
}

/// One page, sorted by job and instance.
pub struct Page<'r> {
    rules: &'r Rules,
    pub now_ns: u64,
    metas: HashMap<String, Rc<Meta>>,
    /// Families and groups until now.
    held: usize,
    pub groups: IndexMap<(String, String), Group>,
    pub refused: Refused,
    /// Samples on the page, and those of them that relabelling kept.
    pub scraped: u64,
    pub kept: u64,
}

impl<'r> Page<'r> {
    pub fn new(rules: &'r Rules, now_ns: u64) -> Self {
        Self {
            rules,
            now_ns,
            metas: HashMap::new(),
            held: 0,
            groups: IndexMap::new(),
            refused: Refused::new(),
            scraped: 0,
            kept: 0,
        }
    }

    /// Takes a page in; the error says why nothing of it can be used.
    pub fn read(&mut self, page: &[u8], format: Format) -> Result<(), String> {
        match format {
            Format::Text => self.read_lines(page, false),
            Format::OpenMetrics => self.read_lines(page, true),
            Format::Protobuf => self.read_families(page),
        }?;
        if self.scraped == 0 && !self.refused.is_empty() {
            return Err("nothing on the page can be read".to_owned());
        }
        Ok(())
    }

    fn read_lines(&mut self, page: &[u8], openmetrics: bool) -> Result<(), String> {
        let mut ended = false;
        for line in text::lines(page) {
            match text::line(line, openmetrics) {
                Ok(Line::Eof) => {
                    ended = true;
                    break;
                }
                Ok(line) => self.take(line),
                Err(reason) => self.refuse(reason),
            }
            self.check_limit()?;
        }
        if openmetrics && !ended {
            return Err("the page does not end with # EOF".to_owned());
        }
        Ok(())
    }

    pub fn check_limit(&self) -> Result<(), String> {
        let limit = self.rules.sample_limit;
        if limit > 0 && self.kept > limit {
            return Err(format!("more samples than sample_limit: {limit}"));
        }
        if limit == 0 && self.kept > MAX_SAMPLES {
            return Err(format!(
                "more samples than {MAX_SAMPLES}, with no sample_limit"
            ));
        }
        Ok(())
    }

    pub fn refuse(&mut self, reason: &'static str) {
        *self.refused.entry(reason).or_default() += 1;
    }

    fn take(&mut self, line: Line<'_>) {
        match line {
            Line::Type(name, kind) => self.meta(name, |meta| meta.kind = Kind::parse(kind)),
            Line::Unit(name, unit) => self.meta(name, |meta| meta.unit = cut(unit).to_owned()),
            Line::Help(name, help) => self.meta(name, |meta| meta.help = cut(&help).to_owned()),
            Line::Sample(sample) => match Role::of(&sample.name, &self.metas) {
                Ok(role) => self.add(sample, &role),
                Err(reason) => {
                    self.scraped += 1;
                    self.refuse(reason);
                }
            },
            Line::Eof | Line::Nothing => {}
        }
    }

    fn meta(&mut self, name: Cow<'_, str>, set: impl FnOnce(&mut Meta)) {
        if self.metas.len() >= MAX_FAMILIES && !self.metas.contains_key(name.as_ref()) {
            return self.refuse("family_limit");
        }
        set(Rc::make_mut(
            self.metas.entry(name.into_owned()).or_default(),
        ));
    }

    /// Takes a sample in, or counts why not.
    pub fn add(&mut self, sample: Sample<'_>, role: &Role) {
        self.scraped += 1;
        if let Err(reason) = self.sample(sample, role) {
            self.refuse(reason);
        }
    }

    fn sample(&mut self, sample: Sample<'_>, role: &Role) -> Result<(), &'static str> {
        let rules = self.rules;
        let mut labels = sample.labels;
        rules.add_target(&mut labels);
        labels.push((Cow::Borrowed("__name__"), sample.name));
        if !rules.relabel.get().is_empty() && !rules.relabel.get().relabel(&mut labels) {
            return Ok(());
        }
        labels.retain(|(_, value)| !value.is_empty());
        rules.add_external(&mut labels);
        if labels.len() > MAX_LABELS {
            return Err("label_limit");
        }
        let name = pop(&mut labels, "__name__").ok_or("no_name")?;
        labels.retain(|(name, _)| !name.starts_with("__"));
        let job = pop(&mut labels, "job").unwrap_or_default();
        let instance = pop(&mut labels, "instance").unwrap_or_default();
        self.kept += 1;
        let full = self.held >= MAX_FAMILIES;
        let group = match self.groups.entry((job.into_owned(), instance.into_owned())) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if full => return Err("family_limit"),
            Entry::Vacant(new) => {
                self.held += 1;
                new.insert(Group::default())
            }
        };
        if name == "target_info" {
            let own = |(name, value): (Cow<'_, str>, Cow<'_, str>)| {
                (name.into_owned(), value.into_owned())
            };
            group.info = labels.into_iter().map(own).collect();
            return Ok(());
        }
        let key = match role.part {
            Part::Bucket => bound(&mut labels, "le")?,
            Part::Quantile => bound(&mut labels, "quantile")?,
            _ => 0.0,
        };
        let base = name.strip_suffix(role.suffix).ok_or("renamed_part")?;
        let (scope, schema_url) = write::scope(&mut labels);
        let metric = Metric {
            scope,
            schema_url,
            name: format!("{base}{}", role.instead),
            unit: role.meta.unit.clone(),
            kind: role.meta.kind,
        };
        let family = match group.families.entry(metric) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if full => return Err("family_limit"),
            Entry::Vacant(new) => {
                self.held += 1;
                new.insert(Family {
                    meta: Rc::clone(&role.meta),
                    points: IndexMap::new(),
                })
            }
        };
        labels.sort_unstable();
        let attributes = write::attributes(role.meta.kind, &labels);
        let point = family.points.entry(attributes).or_default();
        let honoured = sample.time_ns.filter(|_| rules.honor_timestamps);
        point.time_ns = honoured.unwrap_or(self.now_ns);
        point.timed = honoured.is_some();
        if sample.created_ns > 0 {
            point.created_ns = sample.created_ns;
        }
        let room = MAX_EXEMPLARS.saturating_sub(point.exemplars.len());
        point
            .exemplars
            .extend(sample.exemplars.into_iter().take(room));
        match sample.native {
            Some(_) if point.native.is_some() => Err("duplicate_sample"),
            Some(native) => {
                point.native = Some(native);
                Ok(())
            }
            None => point.add(role.part, key, sample.value),
        }
    }

    /// Sets a gauge that the receiver itself tells of the target.
    pub fn report(&mut self, name: &str, help: &str, value: f64) {
        let rules = self.rules;
        let group = self
            .groups
            .entry((rules.job.clone(), rules.instance.clone()));
        let meta = Meta {
            kind: Kind::Gauge,
            help: help.to_owned(),
            unit: String::new(),
        };
        let metric = Metric {
            scope: Vec::new(),
            schema_url: String::new(),
            name: name.to_owned(),
            unit: String::new(),
            kind: Kind::Gauge,
        };
        let borrowed = |(name, value): &'r (String, String)| (Cow::from(name), Cow::from(value));
        let mut labels: Labels<'_> = rules.labels.iter().map(borrowed).collect();
        rules.add_external(&mut labels);
        labels.sort_unstable();
        let point = Point {
            time_ns: self.now_ns,
            value: Some(value),
            ..Point::default()
        };
        let points = IndexMap::from([(write::attributes(Kind::Gauge, &labels), point)]);
        let meta = Rc::new(meta);
        let families = &mut group.or_default().families;
        families.insert(metric, Family { meta, points });
    }
}

impl Point {
    fn add(&mut self, part: Part, key: f64, value: f64) -> Result<(), &'static str> {
        let slot = match part {
            Part::Bucket | Part::Quantile => {
                self.parts.push((key, value));
                return Ok(());
            }
            Part::Created => {
                self.created_ns = nanoseconds(value).unwrap_or(0);
                return Ok(());
            }
            Part::Value => &mut self.value,
            Part::Count => &mut self.count,
            Part::Sum => &mut self.sum,
        };
        if slot.is_some() {
            return Err("duplicate_sample");
        }
        *slot = Some(value);
        Ok(())
    }
}

fn bound(labels: &mut Labels<'_>, name: &str) -> Result<f64, &'static str> {
    let text = pop(labels, name).ok_or("stray_sample")?;
    let number = text.parse().ok().filter(|bound: &f64| !bound.is_nan());
    number.ok_or("invalid_bound")
}

fn pop<'a>(labels: &mut Labels<'a>, name: &str) -> Option<Cow<'a, str>> {
    let at = labels.iter().position(|(known, _)| known == name)?;
    Some(labels.swap_remove(at).1)
}

/// Help and units, no longer than the limit.
pub fn cut(text: &str) -> &str {
    let end = (0..=MAX_HELP_BYTES.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at));
    end.and_then(|end| text.get(..end)).unwrap_or("")
}
