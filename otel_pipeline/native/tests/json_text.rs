//! The JSON cursor: its shortcuts agree with the plain rule, and depth costs no stack.

use _native::json_text::{Text, is_number, plain_length};

#[test]
fn plain_length_is_the_place_of_the_first_special_byte() {
    for length in 0..20 {
        for place in 0..length {
            for byte in 0..=255 {
                for around in [b'a', 0x20, 0x7f, 0x80, 0xff, b'!', b'#', b'[', b']'] {
                    let mut text = vec![around; length];
                    text[place] = byte;
                    let special = byte < 0x20 || byte == b'"' || byte == b'\\';
                    let expected = if special { place } else { length };
                    assert_eq!(plain_length(&text), expected, "{text:?}");
                }
            }
        }
    }
}

#[test]
fn skipping_a_million_levels_takes_no_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let text = open.repeat(1_000_000) + "1" + &close.repeat(1_000_000);
        let mut cursor = Text::new(text.as_bytes());
        assert!(cursor.skip().is_ok());
        assert!(cursor.end().is_ok());
        assert!(
            Text::new(&text.as_bytes()[..text.len() - 1])
                .skip()
                .is_err()
        );
    }
}

#[test]
fn numbers_follow_the_grammar_of_json() {
    for good in ["0", "-0", "10", "1.5", "-1.5e-7", "0e0", "1E+2"] {
        assert!(is_number(good.as_bytes()), "{good}");
    }
    for bad in [
        "", "-", "00", "01", "1.", ".5", "+1", "1e", "1e+", "0x1", " 1", "1 ", "Infinity", "NaN",
    ] {
        assert!(!is_number(bad.as_bytes()), "{bad}");
    }
}
