//! Reads the names on an item: what identifies a requirement, a branch, a commit, an image.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::plan::Plan;
use crate::aggregate::keys::{Keys, Lists, Seen};
use crate::matcher::matches_glob;
use crate::otlp::{AnyValue, children};

/// So many names of one attribute are read, where it is a list; and so many names of one item.
const MAX_VALUES: usize = 16;
const MAX_NAMES: usize = 48;

/// Number of the kind in causal order, scope, value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub kind: u8,
    pub scope: String,
    pub value: String,
}

/// A name on one item.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    pub name: Name,
    /// Which entry of the plan found it.
    pub entry: usize,
    /// The same thing in a wider scope, which is linked with this name only.
    pub wider: Option<Name>,
}

impl Named {
    /// Whether the two stand together as evidence: two of one entry, or two requirements, do not.
    pub fn links(&self, other: &Self) -> bool {
        let is_alike = self.name.kind == other.name.kind;
        !is_alike || self.entry != other.entry && self.name.kind != 0
    }
}

pub struct Names {
    kinds: Vec<Kind>,
    entries: Vec<Entry>,
    max_bytes: usize,
    /// By watched key: whether it is asked for here.
    asked: Vec<bool>,
}

struct Kind {
    name: String,
    never: Vec<String>,
    lower_case: bool,
}

struct Entry {
    kind: u8,
    attributes: Vec<u32>,
    within: Vec<u32>,
    or_within: Vec<u32>,
    prefix: String,
    optional: bool,
}

/// Names that were left out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    pub too_long: u64,
    pub too_many: u64,
    pub no_scope: u64,
}

impl Names {
    pub fn new(plan: &Plan, keys: &mut Keys) -> Self {
        let kinds = plan.kinds.iter().map(|one| Kind {
            name: one.kind.clone(),
            never: one.never.clone(),
            lower_case: one.lower_case,
        });
        let mut names = Self {
            kinds: kinds.collect(),
            entries: Vec::new(),
            max_bytes: plan.max_key_bytes,
            asked: Vec::new(),
        };
        let entries = plan.keys.iter().map(|key| Entry {
            kind: names.kind(&key.kind).unwrap_or_default(),
            attributes: watch(&key.attributes, keys),
            within: watch(&key.within, keys),
            or_within: watch(&key.or_within, keys),
            prefix: key.prefix.clone(),
            optional: key.optional,
        });
        names.entries = entries.collect();
        names.asked = vec![false; keys.watched()];
        for entry in &names.entries {
            for watched in entry
                .attributes
                .iter()
                .chain(&entry.within)
                .chain(&entry.or_within)
            {
                names.asked[*watched as usize] = true;
            }
        }
        names
    }

    /// The number of a kind.
    pub fn kind(&self, name: &str) -> Option<u8> {
        let at = self.kinds.iter().position(|kind| kind.name == name)?;
        u8::try_from(at).ok()
    }

    /// The name of a kind.
    pub fn kind_name(&self, kind: u8) -> &str {
        self.kinds
            .get(usize::from(kind))
            .map_or("", |kind| &kind.name)
    }

    /// The kind that an attribute names.
    pub fn kind_of(&self, watched: u32) -> Option<u8> {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.attributes.contains(&watched))?;
        Some(entry.kind)
    }

    /// Whether what is seen under a watched key can make a name.
    #[inline]
    pub fn asks(&self, watched: u32) -> bool {
        self.asked.get(watched as usize).is_some_and(|asked| *asked)
    }

    /// Puts all names of an item into `out`, sorted, each once.
    pub fn read(&self, lists: &Lists<'_>, out: &mut Vec<Named>, left_out: &mut LeftOut) {
        out.clear();
        for (at, entry) in self.entries.iter().enumerate() {
            for text in values(lists, &entry.attributes) {
                out.extend(self.named(at, entry, &text, lists, left_out));
            }
        }
        out.sort_unstable();
        out.dedup_by(|one, other| one.name == other.name);
        left_out.too_many += out.len().saturating_sub(MAX_NAMES) as u64;
        out.truncate(MAX_NAMES);
    }

    fn named(
        &self,
        at: usize,
        entry: &Entry,
        text: &str,
        lists: &Lists<'_>,
        left_out: &mut LeftOut,
    ) -> Option<Named> {
        let kind = self.kinds.get(usize::from(entry.kind))?;
        let value = storable(text.trim());
        if value.len() > self.max_bytes {
            left_out.too_long += 1;
            return None;
        }
        if says_nothing(&value) || kind.is_never(&value) {
            return None;
        }
        let value = if kind.lower_case {
            value.to_lowercase()
        } else {
            value.into_owned()
        };
        let name = |scope| Name {
            kind: entry.kind,
            scope,
            value: value.clone(),
        };
        let named = |name, wider| {
            Some(Named {
                name,
                entry: at,
                wider,
            })
        };
        if entry.within.is_empty() && entry.or_within.is_empty() {
            return named(name(String::new()), None);
        }
        let own = self.scope(lists, &entry.within, "");
        let wider = self.scope(lists, &entry.or_within, &entry.prefix);
        match (own, wider) {
            (Some(own), wider) => named(name(own), wider.map(name)),
            (None, Some(wider)) => named(name(wider), None),
            (None, None) if entry.optional => named(name(String::new()), None),
            (None, None) => {
                left_out.no_scope += 1;
                None
            }
        }
    }

    fn scope(&self, lists: &Lists<'_>, keys: &[u32], prefix: &str) -> Option<String> {
        let text = values(lists, keys).into_iter().next()?;
        let text = text.trim();
        let is_scope = text.len() <= self.max_bytes && !says_nothing(text);
        is_scope.then(|| format!("{prefix}{}", repository(&storable(text))))
    }
}

impl Kind {
    fn is_never(&self, value: &str) -> bool {
        if self.never.is_empty() {
            return false;
        }
        let value = value.to_lowercase();
        self.never.iter().any(|glob| matches_glob(glob, &value))
    }
}

pub fn watch(names: &[String], keys: &mut Keys) -> Vec<u32> {
    names.iter().map(|name| keys.watch(name)).collect()
}

/// The value under the first of `keys` that is there: of the item, else of its scope, else of its resource.
pub fn nearest<'a>(lists: &Lists<'a>, keys: &[u32]) -> Option<AnyValue<'a>> {
    [&lists.item, &lists.scope, &lists.resource]
        .iter()
        .find_map(|seen| first(seen, keys))
}

pub fn first<'a>(seen: &Seen<'a>, keys: &[u32]) -> Option<AnyValue<'a>> {
    let is_told = |value: &AnyValue<'_>| !matches!(value, AnyValue::Empty | AnyValue::Str(""));
    if seen.0.is_empty() {
        return None;
    }
    keys.iter().find_map(|key| seen.get(*key).filter(is_told))
}

/// The texts of the nearest value; several where it is a list.
fn values<'a>(lists: &Lists<'a>, keys: &[u32]) -> Vec<Cow<'a, str>> {
    match nearest(lists, keys) {
        Some(AnyValue::Array(body)) => {
            let members = children(body, 1).flatten().take(MAX_VALUES);
            members
                .filter_map(|member| text_of(AnyValue::parse(member.value.bytes())))
                .collect()
        }
        Some(value) => text_of(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// A text or a whole number, trimmed.
pub fn text_of(value: AnyValue<'_>) -> Option<Cow<'_, str>> {
    match value {
        AnyValue::Str(text) => Some(Cow::Borrowed(text.trim())),
        AnyValue::Int(number) => Some(Cow::Owned(number.to_string())),
        AnyValue::Bool(flag) => Some(Cow::Borrowed(if flag { "true" } else { "false" })),
        _ => None,
    }
}

/// Without a letter or a digit other than 0: nothing, `-`, `0`, the hash that stands for no commit.
fn says_nothing(value: &str) -> bool {
    !value.chars().any(|c| c.is_alphanumeric() && c != '0')
}

/// Without the character 0, which PostgreSQL keeps in no text.
pub fn storable(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}

/// `https://user@Host:443/acme/shop.git/` and `git@host:acme/shop` are `host/acme/shop`; what is no address of a
/// repository stays.
fn repository(text: &str) -> Cow<'_, str> {
    let short = text
        .split_once(':')
        .is_some_and(|(user, _)| user.contains('@'));
    let (is_url, rest) = match text.split_once("://") {
        Some((_, rest)) => (true, rest),
        None if short && !text.contains(char::is_whitespace) => (false, text),
        None => return Cow::Borrowed(text),
    };
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let (host, more) = authority.split_once(':').unwrap_or((authority, ""));
    // What follows the colon is a port in a URL, and the beginning of the path in ssh's short form.
    let path = if is_url {
        path.to_owned()
    } else {
        format!("{more}{path}")
    };
    let path = path.trim_matches('/');
    let path = path
        .strip_suffix(".git")
        .unwrap_or(path)
        .trim_end_matches('/');
    Cow::Owned(format!("{}/{path}", host.to_lowercase()))
}
