//! Which family a sample belongs to, and what it says of its point.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::rc::Rc;

use super::sample::{Kind, Meta};

/// What a sample says of its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Value,
    Bucket,
    Quantile,
    Count,
    Sum,
    Created,
}

pub struct Role {
    pub meta: Rc<Meta>,
    pub part: Part,
    /// What the family's name lacks of that of the sample, and has instead.
    pub suffix: &'static str,
    pub instead: &'static str,
}

impl Role {
    pub fn new(meta: &Rc<Meta>, part: Part, suffix: &'static str, instead: &'static str) -> Self {
        Self {
            meta: Rc::clone(meta),
            part,
            suffix,
            instead,
        }
    }

    /// Which family a sample belongs to: its own name's, or that of a histogram, summary or counter with a suffix.
    pub fn of(name: &str, metas: &HashMap<String, Rc<Meta>>) -> Result<Self, &'static str> {
        if let Some(meta) = metas.get(name) {
            let part = match meta.kind {
                Kind::Histogram => return Err("stray_sample"),
                Kind::Summary => Part::Quantile,
                _ => Part::Value,
            };
            return Ok(Self::new(meta, part, "", ""));
        }
        for suffix in ["_bucket", "_count", "_sum", "_created", "_total", "_info"] {
            let meta = name.strip_suffix(suffix).and_then(|base| metas.get(base));
            let Some(meta) = meta else { continue };
            return match (meta.kind, suffix) {
                (Kind::Histogram, "_bucket") => Ok(Self::new(meta, Part::Bucket, suffix, "")),
                (Kind::Histogram | Kind::Summary, "_count") => {
                    Ok(Self::new(meta, Part::Count, suffix, ""))
                }
                (Kind::Histogram | Kind::Summary, "_sum") => {
                    Ok(Self::new(meta, Part::Sum, suffix, ""))
                }
                (Kind::Histogram | Kind::Summary, "_created") => {
                    Ok(Self::new(meta, Part::Created, suffix, ""))
                }
                (Kind::Counter, "_created") => Ok(Self::new(meta, Part::Created, suffix, "_total")),
                (Kind::Counter, "_total") | (Kind::State, "_info") | (Kind::Gauge, "_bucket") => {
                    Ok(Self::new(meta, Part::Value, "", ""))
                }
                _ => continue,
            };
        }
        Ok(Self::new(&Rc::default(), Part::Value, "", ""))
    }
}
