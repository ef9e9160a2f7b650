//! Arithmetic of what runs use: decimal dollars without floats, tokens into money.
//! Never reads a stream; `agents::usage` does.

use serde::{Deserialize, Serialize};

use super::run::{Provenance, Usage};

/// What a run's output says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageReport {
    /// What it used; none when it said nothing.
    pub usage: Option<Usage>,
    /// One line: the agent says that it failed, whatever its exit code.
    pub failure: Option<String>,
    /// The agent's own name of its session, by which it can be resumed.
    pub session: Option<String>,
    /// The model that it last named.
    pub model: Option<String>,
}

/// Pico-USD in a USD: the unit in which costs are summed before they are rounded once.
const PICO: u32 = 12;
/// Pico-USD in a micro-USD.
const PICO_PER_MICRO: i128 = 1_000_000;

/// A cost with 12 decimal places, so that sums of tiny prices do not drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PicoUsd(i128);

impl PicoUsd {
    /// Reads a decimal number of USD as JSON writes it: `0.0123`, `1e-5`. Digits past the twelfth are dropped.
    /// None for anything else, for negative and for absurd amounts (a billion USD).
    pub fn from_decimal(text: &str) -> Option<Self> {
        let text = text.trim();
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
            return None;
        }
        // More digits before the point than any price has; more after it than can matter.
        if whole.len() > 12 {
            return None;
        }
        let fraction = &fraction[..fraction.len().min(20)];
        let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = i64::from(PICO) + i64::from(exponent) - i64::try_from(fraction.len()).ok()?;
        let amount = match u32::try_from(scale.unsigned_abs()) {
            Ok(up) if scale >= 0 && up <= 38 => mantissa.checked_mul(10_i128.checked_pow(up)?)?,
            Ok(down) if scale < 0 && down <= 38 => mantissa / 10_i128.checked_pow(down)?,
            _ if mantissa == 0 || scale < 0 => 0,
            _ => return None,
        };
        let limit = 10_i128.pow(PICO + 9);
        (amount < limit).then_some(Self(amount))
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Micro-USD, rounded half up.
    pub fn to_micro(self) -> i64 {
        i64::try_from((self.0 + PICO_PER_MICRO / 2) / PICO_PER_MICRO).unwrap_or(i64::MAX)
    }
}

/// Two usages together. The cost is known only when both are.
#[must_use]
pub fn sum(a: Usage, b: Usage) -> Usage {
    let cost = a.cost_micro_usd.zip(b.cost_micro_usd);
    Usage {
        tokens_in: a.tokens_in.saturating_add(b.tokens_in),
        tokens_out: a.tokens_out.saturating_add(b.tokens_out),
        tokens_cached: a.tokens_cached.saturating_add(b.tokens_cached),
        cost_micro_usd: cost.map(|(x, y)| x.saturating_add(y)),
        provenance: match (cost, a.provenance, b.provenance) {
            (None, _, _) => Provenance::Unpriced,
            (Some(_), Provenance::Reported, Provenance::Reported) => Provenance::Reported,
            (Some(_), _, _) => Provenance::Priced,
        },
    }
}

/// What a model costs: micro-USD for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Input that was not cached.
    pub input: i64,
    /// Input read from the cache.
    pub cached_input: i64,
    /// Output.
    pub output: i64,
}

/// The usage with a cost from the price table, where the agent reported none.
#[must_use]
pub fn priced(usage: Usage, price: Price) -> Usage {
    if usage.cost_micro_usd.is_some() {
        return usage;
    }
    let fresh = (usage.tokens_in - usage.tokens_cached).max(0);
    let part = |tokens: i64, price: i64| i128::from(tokens) * i128::from(price);
    let total = part(fresh, price.input)
        + part(usage.tokens_cached, price.cached_input)
        + part(usage.tokens_out, price.output);
    Usage {
        cost_micro_usd: Some(i64::try_from((total + 500_000) / 1_000_000).unwrap_or(i64::MAX)),
        provenance: Provenance::Priced,
        ..usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(tokens: [i64; 3], cost: Option<i64>) -> Usage {
        Usage {
            tokens_in: tokens[0],
            tokens_out: tokens[1],
            tokens_cached: tokens[2],
            cost_micro_usd: cost,
            provenance: cost.map_or(Provenance::Unpriced, |_| Provenance::Reported),
        }
    }

    #[test]
    fn decimal_dollars_become_micro_dollars_without_floats() {
        let table = [
            ("0", Some(0)),
            ("0.0", Some(0)),
            ("1", Some(1_000_000)),
            ("0.1", Some(100_000)),
            ("0.3", Some(300_000)),
            ("6.1567965", Some(6_156_797)),
            ("0.0000005", Some(1)),
            ("0.00000049", Some(0)),
            ("1e-5", Some(10)),
            ("1.5E-6", Some(2)),
            ("1e2", Some(100_000_000)),
            ("2.5e+1", Some(25_000_000)),
            (".5", Some(500_000)),
            ("0.123456789012345678901234567890123456789", Some(123_457)),
            ("1e-400", Some(0)),
            ("0e400", Some(0)),
            ("1e400", None),
            ("1e9", None),
            ("-0.1", None),
            ("", None),
            (".", None),
            ("abc", None),
            ("1.2.3", None),
            ("NaN", None),
            ("0x10", None),
            ("1e", None),
            ("1234567890123456789012345678901234567890", None),
        ];
        for (text, micro) in table {
            assert_eq!(
                PicoUsd::from_decimal(text).map(PicoUsd::to_micro),
                micro,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_thousand_tiny_costs_sum_without_drift() {
        let one = PicoUsd::from_decimal("0.0000001").unwrap_or_default();
        let total = (0..1000).fold(PicoUsd::default(), |sum, _| sum.plus(one));
        assert_eq!(total.to_micro(), 100);
    }

    #[test]
    fn a_price_table_prices_only_what_nobody_reported() {
        let price = Price {
            input: 1_250_000,
            cached_input: 125_000,
            output: 10_000_000,
        };
        let got = priced(usage([1_000_000, 100_000, 400_000], None), price);
        assert_eq!(got.cost_micro_usd, Some(750_000 + 50_000 + 1_000_000));
        assert_eq!(got.provenance, Provenance::Priced);
        let reported = usage([1, 1, 0], Some(7));
        assert_eq!(priced(reported, price), reported);
        let sum = sum(got, reported);
        assert_eq!(
            (sum.cost_micro_usd, sum.provenance),
            (Some(1_800_007), Provenance::Priced)
        );
    }
}
