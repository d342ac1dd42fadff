//! Numbers are written as Go writes them, so that bucket labels are the ones that other exporters give.

use _native::prometheus::number::{bound_text, go_text, push_count, push_seconds, push_value};

#[test]
fn floats_are_written_as_by_go() {
    let table = [
        (0.0, "0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (100_000.0, "100000"),
        (1e6, "1e+06"),
        (1_234_567.0, "1.234567e+06"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (-2.5e-7, "-2.5e-07"),
        (1e21, "1e+21"),
        (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
    ];
    for (value, text) in table {
        assert_eq!(go_text(value), text);
    }
    assert_eq!(go_text(f64::NAN), "NaN");
}

#[test]
fn bounds_are_canonical_in_openmetrics() {
    assert_eq!(bound_text(5.0, true), "5.0");
    assert_eq!(bound_text(5.0, false), "5");
    assert_eq!(bound_text(2.5, true), "2.5");
    assert_eq!(bound_text(1e6, true), "1e+06");
}

#[test]
fn counts_and_whole_values_are_written_in_full() {
    let mut out = Vec::new();
    push_count(&mut out, 0);
    push_count(&mut out, u64::MAX);
    push_value(&mut out, 123_456_789.0);
    assert_eq!(out, b"018446744073709551615123456789");
}

#[test]
fn values_in_any_form_are_read_back_equal() {
    for value in [
        0.5,
        -0.25,
        0.0001,
        0.00009,
        999_999.5,
        1_000_000.5,
        -3.0,
        0.1 + 0.2,
        f64::MIN_POSITIVE,
    ] {
        let mut out = Vec::new();
        push_value(&mut out, value);
        assert_eq!(String::from_utf8_lossy(&out).parse(), Ok(value));
    }
}

#[test]
fn times_have_milliseconds() {
    let mut out = Vec::new();
    push_seconds(&mut out, 1_767_225_600_042_999_999);
    assert_eq!(out, b"1767225600.042");
}
