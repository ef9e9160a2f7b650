//! What each kind of key accepts, and how its values are shown. Never knows where a value came from.

use std::net::SocketAddr;

use config::ValueKind;

use super::document::cap;
use super::keys::Kind;
use super::secret::{MASK, mask_url};
use crate::domain::usage::PicoUsd;

/// A usable value.
#[derive(Clone)]
pub(super) enum Checked {
    Switch(bool),
    Whole(i64),
    Text(String),
    List(Vec<String>),
}

/// The longest time that can be set, seconds.
pub(super) const A_YEAR: i64 = 366 * 24 * 3600;

/// The value as its kind wants it, or what would be right.
pub(super) fn check(kind: Kind, value: &ValueKind) -> Result<Checked, String> {
    let text = |value: &ValueKind| match value {
        ValueKind::String(text) => Some(text.clone()),
        _ => None,
    };
    match kind {
        Kind::Switch => match value {
            ValueKind::Boolean(on) => Ok(Checked::Switch(*on)),
            _ => Err("give true or false".to_owned()),
        },
        Kind::Whole(min, max) => {
            whole(value, min, max).ok_or(format!("give a whole number from {min} to {max}"))
        }
        Kind::Seconds(min) => whole(value, min, A_YEAR)
            .ok_or(format!("give whole seconds, at least {min} and at most {A_YEAR}")),
        Kind::Secret => text(value)
            .filter(|t| t.is_empty() || !(t.trim().is_empty() || t.contains(char::is_control)))
            .map(Checked::Text)
            .ok_or_else(|| "give a text of one line, in quotes".to_owned()),
        Kind::Text | Kind::Path | Kind::Json => text(value)
            .map(Checked::Text)
            .ok_or_else(|| "give a text, in quotes".to_owned()),
        Kind::TextOrNumber => match value {
            ValueKind::I64(n) => Ok(Checked::Text(n.to_string())),
            _ => text(value)
                .map(Checked::Text)
                .ok_or_else(|| "give a text or a number".to_owned()),
        },
        Kind::Usd => match value {
            ValueKind::I64(n) => Some(n.to_string()),
            _ => text(value),
        }
        .filter(|t| PicoUsd::from_decimal(t).is_some())
        .map(Checked::Text)
        .ok_or_else(|| "give USD as a decimal number in quotes, such as \"2.50\"".to_owned()),
        Kind::Url => text(value)
            .and_then(url)
            .ok_or_else(|| "give an http:// or https:// address, without user and password".to_owned()),
        Kind::DatabaseUrl => text(value)
            .filter(|t| {
                t.is_empty()
                    || DATABASE_SCHEMES
                        .iter()
                        .any(|s| t.strip_prefix(s).is_some_and(|r| !r.is_empty()))
            })
            .map(Checked::Text)
            .ok_or_else(|| "give sqlite:<file> or postgres://user:password@host/name".to_owned()),
        Kind::List => list(value)
            .map(Checked::List)
            .ok_or_else(|| "give a list of texts".to_owned()),
        Kind::OneOf(words) => text(value)
            .filter(|t| words.contains(&t.as_str()))
            .map(Checked::Text)
            .ok_or_else(|| format!("give one of {}", words.join(", "))),
        Kind::Address => text(value)
            .filter(|t| t.parse::<SocketAddr>().is_ok())
            .map(Checked::Text)
            .ok_or_else(|| "give an IP address and a port, such as 127.0.0.1:8500".to_owned()),
    }
}

const DATABASE_SCHEMES: [&str; 3] = ["sqlite:", "postgres://", "postgresql://"];

fn whole(value: &ValueKind, min: i64, max: i64) -> Option<Checked> {
    match value {
        ValueKind::I64(n) if (min..=max).contains(n) => Some(Checked::Whole(*n)),
        _ => None,
    }
}

/// An address without a slash at its end; empty is not set.
fn url(text: String) -> Option<Checked> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let host = rest.and_then(|r| r.split('/').next()).unwrap_or_default();
    let usable = !host.is_empty()
        && !text.contains('@')
        && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    (text.is_empty() || usable).then(|| Checked::Text(text.trim_end_matches('/').to_owned()))
}

fn list(value: &ValueKind) -> Option<Vec<String>> {
    let ValueKind::Array(items) = value else {
        return None;
    };
    items
        .iter()
        .map(|item| match &item.kind {
            ValueKind::String(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
}

pub(super) fn show_text(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Secret if text.is_empty() => format!("{text:?}"),
        Kind::Secret => MASK.to_owned(),
        Kind::DatabaseUrl if !text.is_empty() && !DATABASE_SCHEMES.iter().any(|s| text.starts_with(s)) => {
            MASK.to_owned()
        }
        Kind::Url | Kind::DatabaseUrl => format!("{:?}", mask_url(text)),
        Kind::Switch
        | Kind::Whole(..)
        | Kind::Seconds(_)
        | Kind::Text
        | Kind::TextOrNumber
        | Kind::Path
        | Kind::List
        | Kind::Json
        | Kind::Usd
        | Kind::OneOf(_)
        | Kind::Address => format!("{text:?}"),
    }
}

pub(super) fn show_list(items: &[String]) -> String {
    let quoted: Vec<_> = items.iter().map(|i| format!("{i:?}")).collect();
    format!("[{}]", quoted.join(", "))
}

/// A value that was refused, as people may see it.
pub(super) fn show_raw(kind: Kind, value: &ValueKind) -> String {
    let secret = matches!(kind, Kind::Secret | Kind::DatabaseUrl | Kind::Url);
    let shown = match value {
        ValueKind::String(text) => show_text(kind, text),
        _ if secret => MASK.to_owned(),
        ValueKind::Boolean(b) => b.to_string(),
        ValueKind::I64(n) => n.to_string(),
        ValueKind::Float(n) => n.to_string(),
        ValueKind::Array(items) => format!("a list of {}", items.len()),
        ValueKind::Table(_) => "a table or a date".to_owned(),
        ValueKind::Nil | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => "a number".to_owned(),
    };
    cap(shown)
}
