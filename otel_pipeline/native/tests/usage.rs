//! Usage is counted once and priced as the list says; the ledger's policy as a whole is tested from Python.

use std::num::NonZeroU64;

use _native::aggregate::intern::Symbol;
use _native::aggregate::usage::ledger::{Cost, Ledger, Limits};
use _native::aggregate::usage::prices::{PriceSpec, Prices};
use _native::aggregate::usage::{COST_USD, Kind, Numbers, Telling, Tokens, Usage, Whose};

const SECOND: u64 = 1_000_000_000;
const LIMITS: Limits = Limits {
    decision_wait_ns: 30 * SECOND,
    max_wait_ns: 3600 * SECOND,
    max_requests: 100,
};

fn usage(request: u64, item: Telling, input: f64, cost_usd: Option<f64>) -> Usage {
    let mut numbers = Numbers::default();
    numbers.put(Kind::Input as usize, input);
    if let Some(usd) = cost_usd {
        numbers.put(COST_USD, usd);
    }
    Usage {
        request: NonZeroU64::new(request),
        has_id: true,
        whose: Whose {
            session: NonZeroU64::new(7),
            sender: 1,
        },
        item,
        numbers,
        time_ns: 1,
    }
}

fn tell(ledger: &mut Ledger, usage: &Usage, labels: &[Symbol], now_ns: u64) {
    let handle = ledger.announce(*usage, now_ns);
    ledger.add(handle, labels, now_ns);
}

fn settled(ledger: &mut Ledger, now_ns: u64) -> Vec<(Vec<Symbol>, f64, Cost)> {
    let mut all = Vec::new();
    ledger.settle(now_ns, false, |counted| {
        all.push((counted.labels.to_vec(), counted.tokens[0], counted.cost));
    });
    all
}

/// Each number and label of a request comes from the telling that knows it, in every order of arrival.
#[test]
fn tellings_of_a_request_are_merged_in_any_order() {
    let span = (usage(1, Telling::Span, 10.0, None), [3, 0]);
    let event = (usage(1, Telling::Event, 11.0, Some(0.5)), [4, 5]);
    for tellings in [[&span, &event], [&event, &span]] {
        let mut ledger = Ledger::new(LIMITS, 2);
        for (usage, labels) in tellings {
            tell(&mut ledger, usage, labels, 0);
        }
        assert_eq!(settled(&mut ledger, 29 * SECOND), []);
        let all = settled(&mut ledger, 30 * SECOND);
        assert_eq!(all, [(vec![3, 5], 10.0, Cost::Usd(0.5))]);
        tell(&mut ledger, &event.0, &event.1, 3630 * SECOND);
        assert_eq!(settled(&mut ledger, 3660 * SECOND), []);
        assert_eq!(ledger.counts.duplicates, 1);
    }
}

/// A request waits for a span that is known to tell it, and is known for as long as that span is.
#[test]
fn a_request_waits_for_what_was_announced() {
    let mut ledger = Ledger::new(LIMITS, 1);
    let span = ledger.announce(usage(1, Telling::Span, 10.0, None), 0);
    tell(&mut ledger, &usage(1, Telling::Event, 10.0, None), &[0], 0);
    assert_eq!(settled(&mut ledger, 7200 * SECOND), []);
    ledger.add(span, &[9], 7200 * SECOND);
    let all = settled(&mut ledger, 7230 * SECOND);
    assert_eq!(all, [(vec![9], 10.0, Cost::Untold)]);
}

/// Over the maximum the oldest are counted early and forgotten first; nothing is lost.
#[test]
fn the_ledger_is_bounded() {
    let mut ledger = Ledger::new(LIMITS, 0);
    let mut count = 0;
    for id in 1..=1000 {
        tell(&mut ledger, &usage(id, Telling::Event, 1.0, None), &[], 0);
        if ledger.is_full() {
            count += settled(&mut ledger, 0).len();
            assert!(!ledger.is_full());
        }
    }
    count += settled(&mut ledger, 30 * SECOND).len();
    assert_eq!((count, ledger.counts.forgotten), (1000, 900));
}

/// A price holds from its date on, a dearer one for large requests only, and no price is not a price of zero.
#[test]
fn prices_hold_from_their_dates_and_by_size() {
    let specs: Vec<PriceSpec> = serde_json::from_str(
        r#"[{"model": "m", "from_unix_ns": 200, "per_million": {"input": 2, "output": 8}},
            {"model": "m", "from_unix_ns": 100, "per_million": {"input": 4, "output": 8, "cache_read": 1},
             "above": {"input_tokens": 1000000, "per_million": {"input": 6}}}]"#,
    )
    .unwrap();
    let prices = Prices::new(&specs, |_| 5).unwrap();
    let cost = |tokens: Tokens, at, by_size| prices.cost_usd(5, &tokens, at, by_size);
    let million = 1e6;
    assert_eq!(cost([million, 0.0, 0.0, 0.0, 0.0], 99, true), None);
    assert_eq!(cost([million, 0.0, 0.0, 0.0, 0.0], 199, true), Some(4.0));
    assert_eq!(cost([million, 0.0, 0.0, 0.0, 0.0], 200, true), Some(2.0));
    assert_eq!(
        cost([million, 0.0, million, 0.0, 0.0], 100, true),
        Some(7.0)
    );
    assert_eq!(
        cost([million, 0.0, million, 0.0, 0.0], 100, false),
        Some(5.0)
    );
    assert_eq!(
        cost([0.0, million, 0.0, 0.0, million], 100, true),
        Some(16.0)
    );
    assert_eq!(cost([0.0, 0.0, 0.0, 1.0, 0.0], 100, true), None);
    assert_eq!(prices.cost_usd(6, &[1.0; 5], 100, true), None);
}
