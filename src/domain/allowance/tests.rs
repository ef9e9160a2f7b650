//! What a key may ask, minute by minute.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn at(s: u64) -> Timestamp {
    NOW + Duration::from_secs(s)
}

fn one(allowance: &mut Allowance, s: u64) -> Result<(), u64> {
    let taken = allowance.take(at(s)).map_err(|wait| wait.as_secs());
    if taken.is_ok() {
        allowance.ended();
    }
    taken
}

#[test]
fn no_more_than_the_limit_goes_out_in_any_minute() {
    let mut allowance = Allowance::new(3);
    for s in [0, 10, 20] {
        one(&mut allowance, s).unwrap();
    }
    assert_eq!(
        one(&mut allowance, 30),
        Err(30),
        "until the first one is a minute old"
    );
    assert_eq!(one(&mut allowance, 59), Err(1));
    assert_eq!(one(&mut allowance, 60), Ok(()));
    assert_eq!(one(&mut allowance, 60), Err(10));
}

#[test]
fn what_others_spent_of_the_key_is_known_from_what_the_service_tells() {
    let mut allowance = Allowance::new(60);
    one(&mut allowance, 0).unwrap();
    allowance.told(2, at(45));
    assert_eq!(one(&mut allowance, 1), Ok(()));
    assert_eq!(one(&mut allowance, 1), Ok(()));
    assert_eq!(one(&mut allowance, 5), Err(40), "until the service counts anew");
    assert_eq!(one(&mut allowance, 45), Ok(()));
}

#[test]
fn requests_under_way_are_taken_off_what_the_service_tells() {
    let mut allowance = Allowance::new(60);
    for _ in 0..3 {
        allowance.take(NOW).unwrap();
    }
    // The answer to the first: the service saw one request, two are on their way.
    allowance.told(3, at(60));
    allowance.ended();
    assert_eq!(one(&mut allowance, 1), Ok(()));
    assert_eq!(one(&mut allowance, 1), Err(59));
}

#[test]
fn a_refusal_closes_for_as_long_as_it_says_and_never_for_ever() {
    let mut allowance = Allowance::new(60);
    allowance.close(Duration::from_secs(31), NOW);
    assert_eq!(one(&mut allowance, 0), Err(31));
    assert_eq!(one(&mut allowance, 31), Ok(()));
    allowance.close(Duration::MAX, NOW);
    assert_eq!(one(&mut allowance, 0), Err(3600));
}

#[test]
fn a_clock_that_was_set_back_locks_nobody_out() {
    let mut allowance = Allowance::new(1);
    one(&mut allowance, 5000).unwrap();
    assert_eq!(one(&mut allowance, 0), Ok(()));
}
