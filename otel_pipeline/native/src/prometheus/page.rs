//! What a page shows in whatever format: families and series under names that the scraper can read, each series as 0
//! where it is new to the scraper.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::HashSet;

use super::escape::{escaped_labels, pairs, unescaped};
use super::family::{Family, State};
use super::names::{escaped_metric, is_plain_metric};
use super::protobuf::Protobuf;
use super::series::{Exemplar, Kind, Scraper, Series};
use super::store::{Store, claims};
use super::text::Text;
use super::value::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text 0.0.4 and 1.0.0.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// `io.prometheus.client.MetricFamily`, each after its length.
    Protobuf,
}

impl Format {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "openmetrics" => Some(Self::OpenMetrics),
            "protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }
}

/// What the lines of a family have in common.
pub struct Head<'s> {
    pub family: &'s Family,
    pub name: Cow<'s, str>,
    /// It stands in text without quotes.
    pub plain: bool,
    /// Its series are what OpenMetrics demands of their type.
    pub keeps_type: bool,
}

/// One series as it is shown now.
pub struct Shown<'s> {
    pub head: &'s Head<'s>,
    /// As text; `escape::pairs` takes it apart.
    pub labels: &'s str,
    pub series: &'s Series,
    /// Shown as 0, since the scraper sees it for the first time.
    pub zero: bool,
}

impl Shown<'_> {
    pub fn number(&self, value: f64) -> f64 {
        if self.zero { 0.0 } else { value }
    }

    pub fn count(&self, count: u64) -> u64 {
        if self.zero { 0 } else { count }
    }

    /// A first 0 has the time of the series' start, before its value's.
    pub fn time_ns(&self) -> u64 {
        let point = &self.series.point;
        if self.zero {
            point.start_ns
        } else {
            point.time_ns
        }
    }

    /// When counting began, where it counts and that is known.
    pub fn start_ns(&self) -> Option<u64> {
        let counts = !self.head.family.kind.is_gauge();
        Some(self.series.point.start_ns).filter(|start_ns| counts && *start_ns != 0)
    }

    /// The exemplar of a counter or bucket; a first 0 has none.
    pub fn exemplar(&self, bucket: usize) -> Option<&Exemplar> {
        self.series.exemplar(bucket).filter(|_| !self.zero)
    }

    pub fn exemplars(&self) -> impl Iterator<Item = &Exemplar> {
        self.series.exemplars().filter(|_| !self.zero)
    }

    /// The latest exemplar above `below` and not above `bound`.
    pub fn exemplar_within(&self, below: f64, bound: f64) -> Option<&Exemplar> {
        let inside = |one: &&Exemplar| one.value > below && one.value <= bound;
        self.exemplars()
            .filter(inside)
            .max_by_key(|one| one.time_ns)
    }
}

/// Writes one format.
pub trait Writer {
    /// Comes before the first series of each family that has any.
    fn begin(&mut self, head: &Head<'_>);
    fn series(&mut self, shown: &Shown<'_>);
    /// Comes before the first target.
    fn begin_targets(&mut self);
    /// One `target_info`, by its labels.
    fn target(&mut self, labels: &str);
    /// Comes after the last series of a family, and after the last target.
    fn end(&mut self);
}

/// Renders the whole store after `own`, the text page of the gateway itself (without `# EOF`).
///
/// `scraper` is the slot of a scraper that is shown 0 first, and remembered; None sees true values and changes nothing.
/// With `utf8` names stand as they are; without, those that not every Prometheus can read are escaped.
pub fn render(
    store: &Store,
    format: Format,
    scraper: Option<usize>,
    own: &[u8],
    utf8: bool,
    capacity: usize,
) -> Vec<u8> {
    let mut walk = Walk {
        store,
        scraper: scraper.and_then(|slot| store.scraper(slot)),
        escapes: !utf8 && !store.options.strategy.escape,
        claimed: HashSet::new(),
    };
    let options = &store.options;
    if format == Format::Protobuf {
        let mut page = Protobuf::new(options, own, capacity);
        walk.all(&mut page);
        return page.finish();
    }
    let mut page = Text::new(options, format == Format::OpenMetrics, own, capacity);
    walk.all(&mut page);
    page.finish()
}

struct Walk<'s> {
    store: &'s Store,
    scraper: Option<Scraper>,
    /// Names that need quotes are escaped; those on the page are held, since two may become the same.
    escapes: bool,
    claimed: HashSet<String>,
}

impl Walk<'_> {
    fn all(&mut self, writer: &mut impl Writer) {
        for family in self.store.families() {
            self.family(&family, writer);
        }
        if !self.store.targets_are_own() {
            self.targets(writer);
        }
    }

    /// The family's name on this page; None where another has become the same.
    fn head<'f>(&mut self, family: &'f Family) -> Option<Head<'f>> {
        let name = match self.escapes {
            true => escaped_metric(&family.name),
            false => Cow::Borrowed(family.name.as_str()),
        };
        if self.escapes {
            let claims = claims(&name, family.kind);
            if claims.iter().any(|claim| self.claimed.contains(claim)) {
                return None;
            }
            self.claimed.extend(claims);
        }
        let plain = is_plain_metric(&name);
        Some(Head {
            family,
            name,
            plain,
            keeps_type: true,
        })
    }

    fn family(&mut self, family: &Family, writer: &mut impl Writer) {
        let Some(mut head) = self.head(family) else {
            return;
        };
        let mut state = family.lock();
        head.keeps_type = self.keeps_type(&head, &state);
        let State {
            series, overflow, ..
        } = &mut *state;
        let overflow_labels = self.store.room.overflow_labels.as_str();
        let all = series
            .iter_mut()
            .map(|(labels, series)| (labels.as_ref(), series))
            .chain(overflow.iter_mut().map(|series| (overflow_labels, series)));
        let mut begun = false;
        let mut escaped: HashSet<String> = HashSet::new();
        for (labels, series) in all.filter(|(_, series)| !series.stale) {
            let labels = self.labels(labels);
            if self.escapes && !escaped.insert(labels.to_string()) {
                continue;
            }
            if !begun {
                writer.begin(&head);
                begun = true;
            }
            let zero = self.scraper.is_some_and(|scraper| series.show(scraper));
            writer.series(&Shown {
                head: &head,
                labels: &labels,
                series,
                zero,
            });
        }
        if begun {
            writer.end();
        }
    }

    /// OpenMetrics 1.0, "Info" and "StateSet": one series that breaks a rule would cost the page.
    fn keeps_type(&self, head: &Head<'_>, state: &State) -> bool {
        let shown = |series: &&Series| !series.stale;
        let mut values = state.series.values().filter(shown);
        match head.family.kind {
            Kind::Info => values.all(|series| is_number(series, &[1.0])),
            Kind::StateSet => {
                let names_state = |labels: &str| {
                    let mut names = pairs(labels).map(|(name, _)| unescaped(name));
                    names.any(|name| name == head.name)
                };
                let named = |labels: &str| names_state(&self.labels(labels));
                let mut all = state.series.iter().filter(|(_, series)| !series.stale);
                all.all(|(labels, series)| named(labels) && is_number(series, &[0.0, 1.0]))
            }
            _ => true,
        }
    }

    fn labels<'l>(&self, labels: &'l str) -> Cow<'l, str> {
        match self.escapes {
            true => escaped_labels(labels),
            false => Cow::Borrowed(labels),
        }
    }

    /// One `target_info` for each resource that named its service.
    fn targets(&self, writer: &mut impl Writer) {
        let mut begun = false;
        self.store.for_each_target(|labels| {
            if !begun {
                writer.begin_targets();
                begun = true;
            }
            writer.target(&self.labels(labels));
        });
        if begun {
            writer.end();
        }
    }
}

fn is_number(series: &Series, allowed: &[f64]) -> bool {
    matches!(series.point.value, Value::Number(value) if allowed.contains(&value))
}

/// The names that the families of a text page claim, from its TYPE lines.
pub fn page_names(page: &[u8]) -> HashSet<String> {
    let mut names = HashSet::new();
    for line in page.split(|byte| *byte == b'\n') {
        let Some((name, kind)) = type_line(line) else {
            continue;
        };
        let kind = match kind {
            "counter" => Kind::Counter,
            "histogram" | "summary" => Kind::Histogram,
            _ => Kind::Gauge,
        };
        let family = match kind {
            Kind::Counter => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        names.extend(claims(family, kind));
    }
    names
}

fn type_line(line: &[u8]) -> Option<(&str, &str)> {
    let line = std::str::from_utf8(line.strip_prefix(b"# TYPE ")?).ok()?;
    line.split_once(' ')
}
