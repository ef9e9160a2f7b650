//! The YAML inside front matter, as text values. Never resolves a type: `yes`, `1.10` and `007` stay as written.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{
    DuplicateKeyPolicy, Error, MergeKeyPolicy, MessageFormatter, NonFiniteFloatPolicy, Options,
    UserMessageFormatter,
};

use super::{FrontMatterError, FrontValue};
use crate::domain::quoted;

type Entries = Vec<(String, FrontValue)>;

/// The entries of the mapping that `text` (between the `---` lines) is. Nothing but comments is an empty mapping.
pub(super) fn mapping(text: &str) -> Result<Entries, FrontMatterError> {
    let blank = |l: &str| l.trim().is_empty() || l.trim_start().starts_with('#');
    if text.lines().all(blank) {
        return Ok(Vec::new());
    }
    let typed: FrontValue = serde_saphyr::from_str_with_options(text, options()).map_err(|e| explain(&e))?;
    let FrontValue::Map(entries) = typed else {
        return Err(FrontMatterError::NotAMapping);
    };
    let seed = AsWritten(&entries);
    let written =
        serde_saphyr::with_deserializer_from_str_with_options(text, options(), |de| seed.deserialize(de));
    // A scalar that has no text form (`!!binary`) keeps the form it was resolved to.
    Ok(written.unwrap_or(entries))
}

/// Front matter is a few lines: whatever needs more than this is an attack or an accident.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 20_000,
            max_nodes: 10_000,
            max_depth: 16,
            max_anchors: 32,
            max_aliases: 64,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 1_000,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: 32,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    }
}

fn explain(error: &Error) -> FrontMatterError {
    // The opening `---` is line 1 of the artifact.
    let line = error.location().map_or(0, |l| l.line()) + 1;
    if let Error::DuplicateMappingKey { key, .. } = error.without_snippet() {
        let key = key.as_deref().unwrap_or("(not a text)");
        return FrontMatterError::DuplicateKey {
            key: quoted::one_line(key, 80),
            line,
        };
    }
    let why = UserMessageFormatter.format_message(error.without_snippet());
    FrontMatterError::Broken {
        line,
        why: quoted::one_line(&why, 200),
    }
}

impl<'de> Deserialize<'de> for FrontValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = FrontValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E>(self) -> Result<FrontValue, E> {
        Ok(FrontValue::Null)
    }
    fn visit_none<E>(self) -> Result<FrontValue, E> {
        Ok(FrontValue::Null)
    }
    fn visit_bool<E>(self, v: bool) -> Result<FrontValue, E> {
        Ok(FrontValue::Text(v.to_string()))
    }
    fn visit_i64<E>(self, v: i64) -> Result<FrontValue, E> {
        Ok(FrontValue::Text(v.to_string()))
    }
    fn visit_u64<E>(self, v: u64) -> Result<FrontValue, E> {
        Ok(FrontValue::Text(v.to_string()))
    }
    fn visit_i128<E>(self, v: i128) -> Result<FrontValue, E> {
        Ok(FrontValue::Text(v.to_string()))
    }
    fn visit_u128<E>(self, v: u128) -> Result<FrontValue, E> {
        Ok(FrontValue::Text(v.to_string()))
    }
    fn visit_f64<E>(self, v: f64) -> Result<FrontValue, E> {
        Ok(FrontValue::Text(v.to_string()))
    }
    fn visit_str<E>(self, v: &str) -> Result<FrontValue, E> {
        Ok(FrontValue::Text(v.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FrontValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(FrontValue::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FrontValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(FrontValue::Map(entries))
    }
}

/// Reads the mapping again, asking for text where the first reading found a scalar: then YAML gives it as written.
struct AsWritten<'a>(&'a [(String, FrontValue)]);

impl<'de> DeserializeSeed<'de> for AsWritten<'_> {
    type Value = Entries;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entries, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AsWritten<'_> {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the mapping that was read before")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::with_capacity(self.0.len());
        for (key, typed) in self.0 {
            let _same: Option<String> = map.next_key()?;
            let value = match typed {
                FrontValue::Text(_) => FrontValue::Text(map.next_value()?),
                FrontValue::Null | FrontValue::List(_) | FrontValue::Map(_) => {
                    map.next_value::<IgnoredAny>()?;
                    typed.clone()
                }
            };
            entries.push((key.clone(), value));
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(entries)
    }
}
