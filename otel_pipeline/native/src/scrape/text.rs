//! Reads the lines of Prometheus text 0.0.4 and OpenMetrics 1.0. A line that cannot be read costs only itself.
#![forbid(unsafe_code)]

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::sample::{
    Exemplar, Labels, MAX_LABELS, MAX_LINE_BYTES, MAX_NAME_BYTES, MAX_VALUE_BYTES, Sample,
    nanoseconds,
};

/// One line that says something.
pub enum Line<'a> {
    Type(Cow<'a, str>, &'a str),
    Help(Cow<'a, str>, String),
    Unit(Cow<'a, str>, &'a str),
    Sample(Sample<'a>),
    Eof,
    Nothing,
}

pub type Result<T> = std::result::Result<T, &'static str>;

const MALFORMED: &str = "malformed_line";

/// The lines of a page, without their ends.
pub fn lines(page: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = page;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest.get(..end)?;
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line)
    })
}

/// Reads one line; the error is the reason why it is refused.
pub fn line(bytes: &[u8], openmetrics: bool) -> Result<Line<'_>> {
    if bytes.len() > MAX_LINE_BYTES {
        return Err("line_too_long");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "invalid_utf8")?;
    let text = text.trim_matches([' ', '\t', '\r']);
    match text.strip_prefix('#') {
        _ if text.is_empty() => Ok(Line::Nothing),
        Some(comment) => metadata(comment, openmetrics),
        None => sample(text, openmetrics).map(Line::Sample),
    }
}

fn metadata(comment: &str, openmetrics: bool) -> Result<Line<'_>> {
    let comment = blanks(comment);
    let (keyword, rest) = word(comment);
    if openmetrics && keyword == "EOF" && rest.is_empty() {
        return Ok(Line::Eof);
    }
    if !matches!(keyword, "HELP" | "TYPE" | "UNIT") {
        return Ok(Line::Nothing);
    }
    let (name, rest) = match rest.strip_prefix('"') {
        Some(rest) => {
            let (name, rest) = quoted(rest)?;
            (name, blanks(rest))
        }
        None => {
            let (name, rest) = word(rest);
            (Cow::Borrowed(name), rest)
        }
    };
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(MALFORMED);
    }
    Ok(match keyword {
        "TYPE" => Line::Type(name, rest),
        "UNIT" => Line::Unit(name, rest),
        _ => Line::Help(name, unescape(rest, openmetrics).into_owned()),
    })
}

fn sample(text: &str, openmetrics: bool) -> Result<Sample<'_>> {
    let (name, rest) = bare_name(text);
    let (mut name, mut rest) = (Cow::Borrowed(name), blanks(rest));
    let mut all = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = labels(inside, &mut name, &mut all)?;
    }
    if name.is_empty() {
        return Err(MALFORMED);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err("name_too_long");
    }
    let (value, rest) = word(rest);
    let value = number(value)?;
    let (time, rest) = match rest.starts_with('#') {
        true => ("", rest),
        false => word(rest),
    };
    let time_ns = timestamp(time, openmetrics)?;
    let exemplars = match rest.strip_prefix('#') {
        Some(rest) if openmetrics => vec![exemplar(blanks(rest))?],
        None if rest.is_empty() => Vec::new(),
        _ => return Err(MALFORMED),
    };
    Ok(Sample {
        name,
        labels: all,
        value,
        time_ns,
        exemplars,
        ..Sample::default()
    })
}

fn exemplar(text: &str) -> Result<Exemplar> {
    let inside = text.strip_prefix('{').ok_or(MALFORMED)?;
    let (mut name, mut all) = (Cow::Borrowed(""), Labels::new());
    let rest = labels(inside, &mut name, &mut all)?;
    let (value, rest) = word(rest);
    let (time, rest) = word(rest);
    if !name.is_empty() || !rest.is_empty() {
        return Err(MALFORMED);
    }
    let owned =
        |(name, value): (Cow<'_, str>, Cow<'_, str>)| (name.into_owned(), value.into_owned());
    Ok(Exemplar {
        labels: all.into_iter().map(owned).collect(),
        value: number(value)?,
        time_ns: timestamp(time, true)?.unwrap_or(0),
    })
}

/// Reads what stands behind `{`, up to and with `}`. A quoted text alone is the name of the metric.
fn labels<'a>(
    mut rest: &'a str,
    metric: &mut Cow<'a, str>,
    out: &mut Labels<'a>,
) -> Result<&'a str> {
    loop {
        rest = blanks(rest);
        if let Some(behind) = rest.strip_prefix('}') {
            return Ok(blanks(behind));
        }
        let (name, behind) = match rest.strip_prefix('"') {
            Some(behind) => quoted(behind)?,
            None => {
                let (name, behind) = bare_name(rest);
                (Cow::Borrowed(name), behind)
            }
        };
        let is_quoted = rest.starts_with('"');
        rest = blanks(behind);
        match rest.strip_prefix('=') {
            Some(behind) => {
                let behind = blanks(behind).strip_prefix('"').ok_or(MALFORMED)?;
                let (value, behind) = quoted(behind)?;
                rest = behind;
                add(name, value, out)?;
            }
            None if is_quoted && metric.is_empty() && !name.is_empty() => *metric = name,
            None => return Err(MALFORMED),
        }
        rest = blanks(rest);
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if rest.starts_with('}') => {}
            None => return Err(MALFORMED),
        }
    }
}

/// Adds a label, within the bounds of all of them.
pub fn add<'a>(name: Cow<'a, str>, value: Cow<'a, str>, out: &mut Labels<'a>) -> Result<()> {
    if name.is_empty() {
        return Err(MALFORMED);
    }
    if name.len() > MAX_NAME_BYTES || value.len() > MAX_VALUE_BYTES || out.len() >= MAX_LABELS {
        return Err("label_limit");
    }
    if out.iter().any(|(known, _)| *known == name) {
        return Err("duplicate_label");
    }
    out.push((name, value));
    Ok(())
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> Result<(Cow<'_, str>, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).ok_or(MALFORMED)?;
        at += memchr2(b'"', b'\\', rest).ok_or(MALFORMED)?;
        if bytes.get(at) == Some(&b'"') {
            let inside = text.get(..at).ok_or(MALFORMED)?;
            return Ok((
                unescape(inside, true),
                text.get(at + 1..).unwrap_or_default(),
            ));
        }
        at += 2;
    }
}

/// Takes `\\`, `\n` and, where quotes are escaped too, `\"` back; any other backslash stands for itself.
fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    if memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => out.push('\n'),
            Some('\\') => out.push('\\'),
            Some('"') if quotes => out.push('"'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}

fn number(text: &str) -> Result<f64> {
    text.parse().map_err(|_| "invalid_value")
}

/// Milliseconds in text 0.0.4, seconds in OpenMetrics.
fn timestamp(text: &str, openmetrics: bool) -> Result<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let time = match openmetrics {
        true => text.parse().ok().and_then(nanoseconds),
        false => text
            .parse::<u64>()
            .ok()
            .and_then(|millis| millis.checked_mul(1_000_000)),
    };
    time.map(Some).ok_or("invalid_timestamp")
}

/// The longest legal name of a metric or label at the start.
fn bare_name(text: &str) -> (&str, &str) {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
    let length = text.bytes().take_while(legal).count();
    match text.bytes().next() {
        Some(first) if first.is_ascii_digit() => ("", text),
        _ => text.split_at_checked(length).unwrap_or(("", text)),
    }
}

fn word(text: &str) -> (&str, &str) {
    match memchr2(b' ', b'\t', text.as_bytes()) {
        Some(end) => (
            text.get(..end).unwrap_or(text),
            blanks(text.get(end..).unwrap_or_default()),
        ),
        None => (text, ""),
    }
}

fn blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}
