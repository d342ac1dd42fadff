//! Collects the samples of one page into families and points: buckets, quantiles, sums and counts find together.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use indexmap::IndexMap;

use super::sample::{Exemplar, Kind, Labels, MAX_LABELS, Meta, Refused, Sample, nanoseconds};
use super::text::{self, Line};
use super::{Rules, write};

const MAX_HELP_BYTES: usize = 4096;
const MAX_EXEMPLARS: usize = 64;

/// What is known of one series of the page until now.
#[derive(Default)]
pub struct Point {
    pub time_ns: u64,
    /// Unix nanoseconds; 0 where the page does not say.
    pub created_ns: u64,
    pub value: Option<f64>,
    pub count: Option<f64>,
    pub sum: Option<f64>,
    /// Bounds with cumulative counts, or quantiles with values.
    pub parts: Vec<(f64, f64)>,
    pub exemplars: Vec<Exemplar>,
}

pub struct Family {
    pub meta: Rc<Meta>,
    /// By the attributes, as they are written.
    pub points: IndexMap<Vec<u8>, Point>,
}

/// What comes from one job and instance.
#[derive(Default)]
pub struct Group {
    pub families: IndexMap<String, Family>,
    /// The labels of `target_info`: attributes of the resource.
    pub info: Vec<(String, String)>,
}

/// One page, sorted by job and instance.
pub struct Page<'r> {
    rules: &'r Rules,
    now_ns: u64,
    metas: HashMap<String, Rc<Meta>>,
    pub groups: IndexMap<(String, String), Group>,
    pub refused: Refused,
    /// Samples on the page, and those of them that relabelling kept.
    pub scraped: u64,
    pub kept: u64,
}

/// What a sample says of its point.
enum Part {
    Value,
    Bucket,
    Quantile,
    Count,
    Sum,
    Created,
}

struct Role {
    meta: Rc<Meta>,
    part: Part,
    /// What the family's name lacks of that of the sample, and has instead.
    suffix: &'static str,
    instead: &'static str,
}

impl<'r> Page<'r> {
    pub fn new(rules: &'r Rules, now_ns: u64) -> Self {
        Self {
            rules,
            now_ns,
            metas: HashMap::new(),
            groups: IndexMap::new(),
            refused: Refused::new(),
            scraped: 0,
            kept: 0,
        }
    }

    /// Takes a page of text in; the error says why nothing of it can be used.
    pub fn read(&mut self, page: &[u8], openmetrics: bool) -> Result<(), String> {
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
            let limit = self.rules.sample_limit;
            if limit > 0 && self.kept > limit {
                return Err(format!("more samples than sample_limit: {limit}"));
            }
        }
        if openmetrics && !ended {
            return Err("the page does not end with # EOF".to_owned());
        }
        if self.scraped == 0 && !self.refused.is_empty() {
            return Err("no line of the page can be read".to_owned());
        }
        Ok(())
    }

    fn refuse(&mut self, reason: &'static str) {
        *self.refused.entry(reason).or_default() += 1;
    }

    fn take(&mut self, line: Line<'_>) {
        match line {
            Line::Type(name, kind) => self.meta(name).kind = Kind::parse(kind),
            Line::Unit(name, unit) => self.meta(name).unit = cut(unit).to_owned(),
            Line::Help(name, help) => self.meta(name).help = cut(&help).to_owned(),
            Line::Sample(sample) => {
                self.scraped += 1;
                if let Err(reason) = self.sample(sample) {
                    self.refuse(reason);
                }
            }
            Line::Eof | Line::Nothing => {}
        }
    }

    fn meta(&mut self, name: Cow<'_, str>) -> &mut Meta {
        Rc::make_mut(self.metas.entry(name.into_owned()).or_default())
    }

    fn sample(&mut self, sample: Sample<'_>) -> Result<(), &'static str> {
        let role = self.role(&sample)?;
        let rules = self.rules;
        let mut labels = sample.labels;
        rules.add_target(&mut labels);
        labels.push((Cow::Borrowed("__name__"), sample.name));
        if !rules.relabel.get().is_empty() && !rules.relabel.get().relabel(&mut labels) {
            return Ok(());
        }
        labels.retain(|(_, value)| !value.is_empty());
        if labels.len() > MAX_LABELS {
            return Err("label_limit");
        }
        let name = pop(&mut labels, "__name__").ok_or("no_name")?;
        labels.retain(|(name, _)| !name.starts_with("__"));
        let job = pop(&mut labels, "job").unwrap_or_default();
        let instance = pop(&mut labels, "instance").unwrap_or_default();
        self.kept += 1;
        let group = self.groups.entry((job.into_owned(), instance.into_owned()));
        let group = group.or_default();
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
        let family = group.families.entry(format!("{base}{}", role.instead));
        let family = family.or_insert_with(|| Family {
            meta: Rc::clone(&role.meta),
            points: IndexMap::new(),
        });
        if family.meta.kind != role.meta.kind {
            return Err("type_conflict");
        }
        labels.sort_unstable();
        let point = family
            .points
            .entry(write::attributes(role.meta.kind, &labels));
        let point = point.or_default();
        let honoured = sample.time_ns.filter(|_| rules.honor_timestamps);
        point.time_ns = honoured.unwrap_or(self.now_ns);
        point.add(&role.part, key, sample.value, sample.exemplar)
    }

    /// Which family a sample belongs to: its own name's, or that of a histogram, summary or counter with a suffix.
    fn role(&self, sample: &Sample<'_>) -> Result<Role, &'static str> {
        let name = sample.name.as_ref();
        if let Some(meta) = self.metas.get(name) {
            let part = match meta.kind {
                Kind::Histogram => return Err("stray_sample"),
                Kind::Summary => Part::Quantile,
                _ => Part::Value,
            };
            return Ok(Role::new(meta, part, "", ""));
        }
        for suffix in ["_bucket", "_count", "_sum", "_created", "_total", "_info"] {
            let meta = name
                .strip_suffix(suffix)
                .and_then(|base| self.metas.get(base));
            let Some(meta) = meta else { continue };
            return match (meta.kind, suffix) {
                (Kind::Histogram, "_bucket") => Ok(Role::new(meta, Part::Bucket, suffix, "")),
                (Kind::Histogram | Kind::Summary, "_count") => {
                    Ok(Role::new(meta, Part::Count, suffix, ""))
                }
                (Kind::Histogram | Kind::Summary, "_sum") => {
                    Ok(Role::new(meta, Part::Sum, suffix, ""))
                }
                (Kind::Histogram | Kind::Summary, "_created") => {
                    Ok(Role::new(meta, Part::Created, suffix, ""))
                }
                (Kind::Counter, "_created") => Ok(Role::new(meta, Part::Created, suffix, "_total")),
                (Kind::Counter, "_total") | (Kind::State, "_info") | (Kind::Gauge, "_bucket") => {
                    Ok(Role::new(meta, Part::Value, "", ""))
                }
                _ => continue,
            };
        }
        Ok(Role::new(&Rc::default(), Part::Value, "", ""))
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
        let family = Family {
            meta: Rc::new(meta),
            points: IndexMap::new(),
        };
        let families = &mut group.or_default().families;
        families.insert(name.to_owned(), family);
        let borrowed = |(name, value): &'r (String, String)| (Cow::from(name), Cow::from(value));
        let mut labels: Labels<'_> = rules.labels.iter().map(borrowed).collect();
        labels.sort_unstable();
        let point = Point {
            time_ns: self.now_ns,
            value: Some(value),
            ..Point::default()
        };
        if let Some(family) = families.get_mut(name) {
            let key = write::attributes(Kind::Gauge, &labels);
            family.points.insert(key, point);
        }
    }
}

impl Role {
    fn new(meta: &Rc<Meta>, part: Part, suffix: &'static str, instead: &'static str) -> Self {
        Self {
            meta: Rc::clone(meta),
            part,
            suffix,
            instead,
        }
    }
}

impl Point {
    fn add(
        &mut self,
        part: &Part,
        key: f64,
        value: f64,
        exemplar: Option<Exemplar>,
    ) -> Result<(), &'static str> {
        let slot = match part {
            Part::Bucket | Part::Quantile => {
                self.parts.push((key, value));
                None
            }
            Part::Created => {
                self.created_ns = nanoseconds(value).unwrap_or(0);
                None
            }
            Part::Value => Some(&mut self.value),
            Part::Count => Some(&mut self.count),
            Part::Sum => Some(&mut self.sum),
        };
        if let Some(slot) = slot {
            if slot.is_some() {
                return Err("duplicate_sample");
            }
            *slot = Some(value);
        }
        let room = MAX_EXEMPLARS.saturating_sub(self.exemplars.len());
        self.exemplars.extend(exemplar.into_iter().take(room));
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

fn cut(text: &str) -> &str {
    let end = (0..=MAX_HELP_BYTES.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at));
    end.and_then(|end| text.get(..end)).unwrap_or("")
}
