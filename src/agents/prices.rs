//! What models cost, as data: the built-in table, and an operator's laid over it. Never guesses a price.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::domain::usage::{PicoUsd, Price};

const BUILTIN: &str = include_str!("../../config/prices.toml");

/// A table of prices that cannot be used: correct the file.
#[derive(Debug, thiserror::Error)]
#[error("the prices in {source_name} cannot be read: {why}")]
pub struct PricesError {
    source_name: String,
    why: String,
}

/// The prices of an installation, by model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices(BTreeMap<String, Price>);

/// As a file says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    input: String,
    cached_input: String,
    output: String,
    source: String,
    date: String,
}

impl Prices {
    /// The prices that come with Orch, with the operator's file laid over them if there is one.
    ///
    /// # Errors
    /// [`PricesError`], naming the file and the entry.
    pub fn load(file: Option<&Path>) -> Result<Self, PricesError> {
        let mut prices = Self::default();
        prices.lay_over("config/prices.toml (built in)", BUILTIN)?;
        if let Some(file) = file {
            let name = format!("budget.prices_file {}", file.display());
            let text = std::fs::read_to_string(file).map_err(|e| bad(&name, &e))?;
            prices.lay_over(&name, &text)?;
        }
        Ok(prices)
    }

    fn lay_over(&mut self, name: &str, text: &str) -> Result<(), PricesError> {
        let entries: BTreeMap<String, Entry> = toml::from_str(text).map_err(|e| bad(name, &e))?;
        for (model, entry) in entries {
            let price = entry
                .price()
                .map_err(|why| bad(name, &format!("[{model}] {why}")))?;
            self.0.insert(model, price);
        }
        Ok(())
    }

    /// The price of a model by the name that its agent or the settings use: that very name, else without the provider
    /// before it, what stands in brackets, and a date at its end.
    pub fn of(&self, model: &str) -> Option<Price> {
        let own = model.rsplit('/').next().unwrap_or(model);
        let plain = own.split('[').next().unwrap_or(own);
        let undated = plain
            .rsplit_once('-')
            .filter(|(_, date)| date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()))
            .map_or(plain, |(name, _)| name);
        [model, plain, undated]
            .into_iter()
            .find_map(|name| self.0.get(name).copied())
    }
}

impl Entry {
    fn price(&self) -> Result<Price, String> {
        let micro = |key: &str, text: &str| {
            PicoUsd::from_decimal(text)
                .map(PicoUsd::to_micro)
                .ok_or_else(|| format!("{key} = {text:?}: give USD as a decimal number, in quotes"))
        };
        for (key, text) in [("source", &self.source), ("date", &self.date)] {
            if text.trim().is_empty() {
                return Err(format!("{key} is empty: say where the price was read, and when"));
            }
        }
        Ok(Price {
            input: micro("input", &self.input)?,
            cached_input: micro("cached_input", &self.cached_input)?,
            output: micro("output", &self.output)?,
        })
    }
}

fn bad(name: &str, why: &dyn std::fmt::Display) -> PricesError {
    PricesError {
        source_name: name.to_owned(),
        why: why.to_string().trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_built_in_table_is_read_and_names_stand_for_their_dated_versions() {
        let prices = Prices::load(None).unwrap();
        let opus = Price {
            input: 5_000_000,
            cached_input: 500_000,
            output: 25_000_000,
        };
        for name in [
            "claude-opus-4-5",
            "claude-opus-4-5-20251101",
            "claude-opus-4-5[1m]",
            "anthropic/claude-opus-4-5",
        ] {
            assert_eq!(prices.of(name), Some(opus), "{name}");
        }
        for name in ["claude-opus-4", "claude-opus-4-5-2025110", "", "gpt"] {
            assert_eq!(prices.of(name), None, "{name}");
        }
    }

    #[test]
    fn an_operators_file_replaces_and_adds_and_a_wrong_one_names_its_entry() {
        let room = tempfile::tempdir().unwrap();
        let file = room.path().join("prices.toml");
        let entry = |name: &str, input: &str| {
            format!(
                "[{name}]\ninput = {input:?}\ncached_input = '0'\noutput = '2.5'\nsource = 'contract'\ndate = '2026-11-01'\n"
            )
        };
        std::fs::write(&file, entry("gpt-5-codex", "1") + &entry("own", "0.000001")).unwrap();
        let prices = Prices::load(Some(&file)).unwrap();
        let input = |name| prices.of(name).map(|p| p.input);
        assert_eq!([input("gpt-5-codex"), input("own")], [Some(1_000_000), Some(1)]);
        assert!(prices.of("claude-opus-5").is_some());

        std::fs::write(&file, entry("own", "-1")).unwrap();
        let refused = Prices::load(Some(&file)).unwrap_err().to_string();
        assert!(refused.contains("[own] input = \"-1\": give USD"), "{refused}");
    }
}
