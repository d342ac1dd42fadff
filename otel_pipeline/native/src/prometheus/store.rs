//! The series store: families by name, what each name claims, targets and scrapers.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use indexmap::IndexMap;

use super::choice::Choice;
use super::conflicts::{Conflicts, kind_word};
use super::family::Family;
use super::identity::Identity;
use super::labels::{Label, push_label};
use super::names::{FamilyName, INFO, Names, Strategy};
use super::room::{Collects, Room, lock};
use super::series::{Kind, Reason, Scraper, reason};

pub const TYPE_CONFLICT: Reason = "type_conflict";
pub const OWN_NAME: Reason = "own_name";
/// Scrapers that are told apart: the bits of a series' mask.
pub const SCRAPERS: usize = 64;
/// The label of overflow series, spelled as OpenTelemetry's `otel.metric.overflow=true`.
const OVERFLOW_LABEL: (&str, &str) = ("otel_metric_overflow", "true");
/// The family that describes resources, by its two names.
const TARGET_NAMES: [&str; 2] = ["target", "target_info"];

/// What the exporter's configuration says.
pub struct Options {
    pub namespace: String,
    pub const_labels: Vec<Label>,
    pub send_timestamps: bool,
    pub created_timestamps: bool,
    pub without_scope_info: bool,
    pub strategy: Strategy,
    pub choice: Choice,
    pub metric_expiration_ns: u64,
    pub max_series_per_metric: usize,
    pub max_series: usize,
    pub max_streams: usize,
    pub zero_first: bool,
    pub epoch_ns: u64,
    /// What is shown is written down for the next store.
    pub kept: bool,
    pub collects: Collects,
    /// Of all that decides on names and labels: a store with another one cannot go on from this.
    pub shape: [u8; 32],
}

/// A resource, shown as one `target_info` series.
pub struct Target {
    pub labels: Box<str>,
    pub ingested_ns: u64,
    /// Was not written down yet.
    pub changed: bool,
    /// Was collected under these labels.
    pub told: bool,
}

/// Who has a scraper slot, and since when.
#[derive(Default, Clone)]
pub struct Slot {
    /// In births.
    pub since: u64,
    /// Empty where nobody has it.
    pub name: Box<str>,
    /// Was not written down yet.
    pub changed: bool,
}

pub struct Store {
    pub options: Options,
    pub names: Names,
    pub room: Room,
    pub conflicts: Conflicts,
    identity: RwLock<Identity>,
    registry: RwLock<Registry>,
    /// By the text of `job` and `instance`.
    pub targets: Mutex<IndexMap<Box<str>, Target>>,
    pub scrapers: Mutex<Vec<Slot>>,
    /// Labels of targets that were collected, and are gone since.
    pub gone_targets: Mutex<Vec<Box<str>>>,
    /// When increments were collected last.
    pub collected_ns: AtomicU64,
    /// The last number that a series was given in the checkpoint. Held while changes are taken.
    pub saved: Mutex<u32>,
}

/// Families by their OpenMetrics names, and every name that a page would hold for them.
#[derive(Default)]
struct Registry {
    families: BTreeMap<String, Arc<Family>>,
    claimed: HashSet<String>,
    /// Names on the gateway's own page, which no sender may use.
    own: HashSet<String>,
}

/// How many of what a store holds, told without waiting for a page that is being rendered.
pub struct Stats {
    pub families: usize,
    pub series: usize,
    pub lines: usize,
    pub overflow_streams: usize,
    pub targets: usize,
    pub streams: usize,
}

impl Store {
    pub fn new(options: Options) -> Self {
        let mut overflow_labels: Vec<Label> = options.const_labels.clone();
        overflow_labels.push((OVERFLOW_LABEL.0.to_owned(), OVERFLOW_LABEL.1.to_owned()));
        overflow_labels.sort();
        let mut overflow_text = String::new();
        for (name, value) in &overflow_labels {
            push_label(&mut overflow_text, name, value);
        }
        let mut room = Room::new(
            options.max_series_per_metric,
            options.max_series,
            options.metric_expiration_ns,
            // Only of what began at 0 is the first value an increment.
            options.zero_first || options.collects == Collects::Delta,
            options.epoch_ns,
            overflow_text,
            options.max_streams,
        );
        (room.kept, room.collected) = (options.kept, options.collects);
        let registry = Registry {
            claimed: TARGET_NAMES.map(str::to_owned).into(),
            ..Registry::default()
        };
        Self {
            collected_ns: AtomicU64::new(options.epoch_ns),
            names: Names::new(&options.namespace, options.strategy),
            options,
            room,
            conflicts: Conflicts::default(),
            identity: RwLock::new(Identity::random()),
            registry: RwLock::new(registry),
            targets: Mutex::default(),
            scrapers: Mutex::new(vec![Slot::default(); SCRAPERS]),
            gone_targets: Mutex::default(),
            saved: Mutex::new(0),
        }
    }

    /// By which streams are named.
    pub fn identity(&self) -> Identity {
        *self.identity.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_identity(&self, identity: Identity) {
        *self
            .identity
            .write()
            .unwrap_or_else(PoisonError::into_inner) = identity;
    }

    /// The family of this name, made where there is none.
    pub fn family(&self, name: &FamilyName, kind: Kind, help: &str) -> Result<Arc<Family>, Reason> {
        if let Some(family) = self.read().families.get(&name.name) {
            return known(family, kind, name.suffix);
        }
        let mut registry = self.write();
        if let Some(family) = registry.families.get(&name.name) {
            return known(family, kind, name.suffix);
        }
        let claims = claims(&name.name, kind);
        if claims.iter().any(|claim| registry.own.contains(claim)) {
            return Err(OWN_NAME);
        }
        if claims.iter().any(|claim| registry.claimed.contains(claim)) {
            return Err(TYPE_CONFLICT);
        }
        if self.room.lines() >= self.room.max_lines {
            return Err(reason::SERIES_LIMIT);
        }
        registry.claimed.extend(claims);
        let family = Arc::new(Family::new(
            name.name.clone(),
            kind,
            name.suffix,
            name.unit.clone(),
            help.into(),
        ));
        let key = name.name.clone();
        registry.families.insert(key, Arc::clone(&family));
        Ok(family)
    }

    /// What stands in the way of a family of this name and kind, in words.
    pub fn holder(&self, name: &str, kind: Kind) -> String {
        let registry = self.read();
        if let Some(family) = registry.families.get(name) {
            return kind_word(family.kind).to_owned();
        }
        let wanted = claims(name, kind);
        let families = registry.families.values();
        let other = families.into_iter().find(|family| {
            let held = claims(&family.name, family.kind);
            held.iter().any(|claim| wanted.contains(claim))
        });
        match other {
            Some(family) => format!("{} {}", kind_word(family.kind), family.name),
            None => "a metric of the gateway's own".to_owned(),
        }
    }

    /// The family of this name and kind where there is one.
    pub fn existing(&self, name: &str, kind: Kind) -> Option<Arc<Family>> {
        let registry = self.read();
        registry
            .families
            .get(name)
            .filter(|family| family.kind == kind)
            .cloned()
    }

    /// All families by name, as they are now.
    pub fn families(&self) -> Vec<Arc<Family>> {
        self.read().families.values().cloned().collect()
    }

    /// Keeps `names` for the gateway's own page. Families that have one of them already are dropped.
    pub fn reserve(&self, names: HashSet<String>) {
        if self.read().own == names {
            return;
        }
        let mut registry = self.write();
        registry.own = names;
        registry.remove(|family, own| {
            claims(&family.name, family.kind)
                .iter()
                .any(|claim| own.contains(claim))
                && family.remove(&self.room, false)
        });
    }

    /// True where the gateway's own page describes targets itself.
    pub fn targets_are_own(&self) -> bool {
        let own = &self.read().own;
        TARGET_NAMES.iter().any(|name| own.contains(*name))
    }

    /// Notes a resource; false where there is no room for another.
    pub fn set_target(&self, key: &str, labels: &str, now_ns: u64) -> bool {
        let mut targets = lock(&self.targets);
        if !targets.contains_key(key) && targets.len() >= self.room.max_series_per_metric {
            return false;
        }
        let held = targets.get(key);
        let same = held.filter(|held| *held.labels == *labels);
        let target = Target {
            labels: labels.into(),
            ingested_ns: now_ns,
            changed: same.is_none_or(|held| held.changed),
            told: same.is_some_and(|held| held.told),
        };
        let before = targets.insert(key.into(), target);
        if let Some(before) = before.filter(|before| before.told && *before.labels != *labels) {
            lock(&self.gone_targets).push(before.labels);
        }
        true
    }

    /// Calls `visit` with the labels of every target.
    pub fn for_each_target(&self, mut visit: impl FnMut(&str)) {
        for target in lock(&self.targets).values() {
            visit(&target.labels);
        }
    }

    /// Gives a slot to a scraper that was not known before. Slots above 63 do not exist.
    pub fn register_scraper(&self, slot: usize, name: &str) {
        if let Some(slot) = lock(&self.scrapers).get_mut(slot) {
            *slot = Slot {
                since: self.room.next_birth(),
                name: name.into(),
                changed: true,
            };
        }
    }

    pub fn scraper(&self, slot: usize) -> Option<Scraper> {
        let since = lock(&self.scrapers).get(slot)?.since;
        Some(Scraper {
            bit: 1 << slot,
            since,
        })
    }

    /// Removes series, overflow streams and targets that were not ingested for the expiration time; gives how many
    /// series went.
    pub fn expire(&self, now_ns: u64) -> usize {
        let (mut gone, mut emptied) = (0, false);
        for family in self.families() {
            let (expired, empty) = family.expire(&self.room, now_ns);
            gone += expired;
            emptied |= empty;
        }
        if emptied {
            self.write()
                .remove(|family, _| family.remove(&self.room, true));
        }
        let expiration_ns = self.room.expiration_ns;
        lock(&self.targets).retain(|_, target| {
            let expired = now_ns.saturating_sub(target.ingested_ns) > expiration_ns;
            if expired && target.told {
                lock(&self.gone_targets).push(target.labels.clone());
            }
            !expired
        });
        gone
    }

    pub fn stats(&self) -> Stats {
        Stats {
            families: self.read().families.len(),
            series: self.room.series(),
            lines: self.room.lines(),
            overflow_streams: self.room.overflow_streams(),
            targets: lock(&self.targets).len(),
            streams: self.room.streams(),
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Registry> {
        self.registry
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Removes the families for which `gone` says so, and gives their names free.
    fn remove(&mut self, gone: impl Fn(&Family, &HashSet<String>) -> bool) {
        let (own, claimed) = (&self.own, &mut self.claimed);
        self.families.retain(|_, family| {
            let gone = gone(family, own);
            if gone {
                for claim in claims(&family.name, family.kind) {
                    claimed.remove(&claim);
                }
            }
            !gone
        });
    }
}

fn known(family: &Arc<Family>, kind: Kind, suffix: &str) -> Result<Arc<Family>, Reason> {
    if family.kind == kind && family.suffix == suffix {
        Ok(Arc::clone(family))
    } else {
        Err(TYPE_CONFLICT)
    }
}

/// Every name that a family puts on a page, its own included. No two families may share one (OpenMetrics 1.0,
/// "MetricFamily").
pub fn claims(name: &str, kind: Kind) -> Vec<String> {
    let suffixes: &[&str] = match kind {
        Kind::Counter => &["", "_total", "_created"],
        Kind::Gauge | Kind::Unknown | Kind::StateSet => &[""],
        Kind::Info => &["", INFO],
        Kind::Histogram | Kind::Exponential => &["", "_bucket", "_count", "_sum", "_created"],
        Kind::Summary => &["", "_count", "_sum", "_created"],
    };
    suffixes
        .iter()
        .map(|suffix| format!("{name}{suffix}"))
        .collect()
}
