//! Numbers and times as Prometheus and Go write them.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

/// Whole numbers below this are exact in a double and written without an exponent.
const WHOLE: f64 = 1e15;
/// Fractions in this range have no exponent in Go, and ryu writes them alike.
const PLAIN: std::ops::Range<f64> = 1e-4..1e6;

/// A sample value: whole numbers in full, others as Go's shortest `%g`.
pub fn push_value(out: &mut Vec<u8>, value: f64) {
    if value.fract() == 0.0 && value.abs() < WHOLE {
        if value < 0.0 {
            out.push(b'-');
        }
        push_count(out, value.abs() as u64);
    } else if PLAIN.contains(&value.abs()) {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(go_text(value).as_bytes());
    }
}

pub fn push_count(out: &mut Vec<u8>, mut count: u64) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (count % 10) as u8;
        count /= 10;
        used += 1;
        if count == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[digits.len() - used..]);
}

/// Unix seconds with milliseconds, the resolution that Prometheus keeps.
pub fn push_seconds(out: &mut Vec<u8>, unix_ns: u64) {
    let millis = unix_ns / 1_000_000;
    push_count(out, millis / 1000);
    let rest = millis % 1000;
    let digits = [rest / 100, rest / 10 % 10, rest % 10];
    out.push(b'.');
    out.extend(digits.map(|digit| b'0' + digit as u8));
}

/// The value of an `le` label. OpenMetrics wants canonical floats: `1.0` where text 0.0.4 has `1`.
pub fn bound_text(bound: f64, openmetrics: bool) -> String {
    let mut text = go_text(bound);
    if openmetrics && bound.is_finite() && !text.contains(['.', 'e']) {
        text.push_str(".0");
    }
    text
}

/// `strconv.FormatFloat(value, 'g', -1, 64)` of Go.
pub fn go_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let mut written = mantissa.to_owned();
    let _ = write!(written, "e{sign}{:02}", exponent.unsigned_abs());
    written
}
