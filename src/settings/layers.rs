//! The layers: defaults, a file, the environment. Each value remembers where it was given.
//! Never judges a value, except that a broken JSON text is dropped so that the layer below shows through.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use config::{Config, ConfigError, Map, Source, Value, ValueKind};
use toml::de::DeValue;

use super::document::{Document, hint, show};
use super::keys::{DEFAULTS, KEYS, Key, Kind, OTHER_ENV_NAMES};
use super::problem::{Problem, Warning};

/// Source of a value that nobody set.
pub(super) const ORIGIN_DEFAULT: &str = "default";

/// Where the path stands when a secret was given as `<key>_file`.
pub(super) const FROM_FILE: &str = "from_file";

/// Keys, values and their origin.
#[derive(Clone, Default)]
pub(super) struct Layer {
    values: Map<String, Value>,
}

impl fmt::Debug for Layer {
    /// Values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.clone())
    }
}

/// What reading the layers brought to light.
#[derive(Default)]
pub(super) struct Findings {
    /// Errors.
    pub(super) problems: Vec<Problem>,
    /// Things ignored.
    pub(super) warnings: Vec<Warning>,
}

impl Layer {
    /// Everything a document says, known or not.
    pub(super) fn from_document(document: &Document<'_>, origin: impl Fn(usize) -> String) -> Self {
        let mut layer = Self::default();
        for leaf in document.leaves() {
            layer.insert(leaf.key, origin(leaf.line), kind_of(leaf.value));
        }
        layer
    }

    /// The layer of a configuration file.
    pub(super) fn from_file(path: &Path, text: &str, found: &mut Findings) -> Self {
        let document = Document::parse(text);
        let origin = |line: usize| format!("file {}:{line}", path.display());
        for (line, why) in &document.syntax {
            found.problems.push(Problem::Syntax {
                origin: origin(*line),
                why: why.clone(),
            });
        }
        let mut layer = Self::default();
        // A document that broke off would only yield echoes of the break.
        if !document.syntax.is_empty() {
            return layer;
        }
        // Nodes have names of their own, and are read as sections.
        let is_node = |key: &str| key == "nodes" || key.starts_with("nodes.");
        for leaf in document.leaves().into_iter().filter(|l| !is_node(&l.key)) {
            let origin = origin(leaf.line);
            match named(&leaf.key, |k| k.name.to_owned(), "_file") {
                Some(name) => layer.put(name, origin, kind_of(leaf.value), found),
                None => unknown_in_file(leaf.key, origin, leaf.value, found),
            }
        }
        layer.refuse_doubles(|key| (key.name.to_owned(), format!("{}_file", key.name)), found);
        layer
    }

    /// The layer of the environment.
    pub(super) fn from_env(env: &[(String, String)], found: &mut Findings) -> Self {
        let mut layer = Self::default();
        for (name, text) in env {
            if !name.starts_with("ORCH_") || OTHER_ENV_NAMES.contains(&name.as_str()) {
                continue;
            }
            let origin = format!("env {name}");
            match named(name, Key::env_name, "_FILE") {
                Some(Named::Value(key)) if text.is_empty() && !may_be_empty(key.kind) => {
                    let message = format!("is empty: ignored, {} is taken from the layer below", key.name);
                    found.warnings.push(Warning { origin, message });
                }
                Some(Named::Value(key)) => {
                    layer.put(Named::Value(key), origin, from_text(key.kind, text), found);
                }
                Some(Named::FileOf(_)) if text.is_empty() => {}
                Some(named) => layer.put(named, origin, ValueKind::String(text.clone()), found),
                None => {
                    let names: Vec<_> = KEYS.iter().map(Key::env_name).collect();
                    let message = format!(
                        "unknown name: ignored{}",
                        hint(name, names.iter().map(String::as_str))
                    );
                    found.warnings.push(Warning { origin, message });
                }
            }
        }
        layer.refuse_doubles(|key| (key.env_name(), format!("{}_FILE", key.env_name())), found);
        layer
    }

    fn insert(&mut self, key: String, origin: String, kind: ValueKind) {
        self.values.insert(key, Value::new(Some(&origin), kind));
    }

    fn put(&mut self, named: Named, origin: String, kind: ValueKind, found: &mut Findings) {
        match named {
            Named::Value(key) => {
                if let (Kind::Json, ValueKind::String(text)) = (key.kind, &kind)
                    && let Err(why) = serde_json::from_str::<serde_json::Map<_, _>>(text)
                {
                    let message = format!("{} is not a JSON object: ignored ({why})", key.name);
                    found.warnings.push(Warning { origin, message });
                    return;
                }
                self.insert(key.name.to_owned(), origin, kind);
            }
            // Kept under a name of its own until doubles have been looked for.
            Named::FileOf(key) => self.insert(format!("{}.{FROM_FILE}", key.name), origin, kind),
        }
    }

    /// A secret given both as itself and as a file, in one layer, is a mistake: which is meant?
    fn refuse_doubles(&mut self, names: impl Fn(&Key) -> (String, String), found: &mut Findings) {
        let doubles: BTreeSet<_> = KEYS
            .iter()
            .filter(|k| self.values.contains_key(k.name))
            .filter(|k| self.values.contains_key(&format!("{}.{FROM_FILE}", k.name)))
            .map(|k| k.name)
            .collect();
        for key in KEYS.iter().filter(|k| doubles.contains(k.name)) {
            let (plain, file) = names(key);
            let origin = self
                .values
                .get(key.name)
                .and_then(Value::origin)
                .unwrap_or_default();
            found.problems.push(Problem::Combination(format!(
                "{origin}: {plain} and {file} are both set: keep one of them"
            )));
            self.values.remove(&format!("{}.{FROM_FILE}", key.name));
        }
    }
}

/// Lays the layers over each other, the last one on top.
pub(super) fn merge(layers: Vec<Layer>) -> Result<Value, Problem> {
    let mut builder = Config::builder().add_source(DEFAULTS.layer.clone());
    for layer in layers {
        builder = builder.add_source(layer);
    }
    let merged = builder.build().map_err(|e| Problem::Internal(e.to_string()))?;
    Ok(merged.cache)
}

/// The value at `a.b`.
pub(super) fn at<'v>(root: &'v Value, key: &str) -> Option<&'v Value> {
    key.split('.').try_fold(root, |value, part| match &value.kind {
        ValueKind::Table(table) => table.get(part),
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_)
        | ValueKind::String(_)
        | ValueKind::Array(_) => None,
    })
}

/// What a name means.
enum Named {
    Value(&'static Key),
    FileOf(&'static Key),
}

fn named(name: &str, of: impl Fn(&Key) -> String, suffix: &str) -> Option<Named> {
    let find = |name: &str| KEYS.iter().find(|k| of(k) == name);
    find(name).map(Named::Value).or_else(|| {
        let key = name.strip_suffix(suffix).and_then(find)?;
        key.may_stand_in_a_file().then_some(Named::FileOf(key))
    })
}

fn unknown_in_file(key: String, origin: String, value: &DeValue<'_>, found: &mut Findings) {
    let section = format!("{key}.");
    let is_section = KEYS.iter().any(|k| k.name.starts_with(&section));
    if is_section && value.is_table() {
        return;
    }
    found.problems.push(if is_section {
        Problem::BadValue {
            origin,
            value: show(value),
            expected: format!("is a section; write its keys below [{key}]"),
            key,
        }
    } else {
        let hint = hint(&key, KEYS.iter().map(|k| k.name));
        Problem::UnknownKey { origin, key, hint }
    });
}

fn may_be_empty(kind: Kind) -> bool {
    match kind {
        Kind::Text
        | Kind::TextOrNumber
        | Kind::Path
        | Kind::Secret
        | Kind::Url
        | Kind::DatabaseUrl
        | Kind::List => true,
        Kind::Switch
        | Kind::Whole(..)
        | Kind::Seconds(_)
        | Kind::Json
        | Kind::Usd
        | Kind::OneOf(_)
        | Kind::Address => false,
    }
}

/// An environment text as the kind wants it; a text that does not fit stays a text and is judged later.
fn from_text(kind: Kind, text: &str) -> ValueKind {
    let as_text = || ValueKind::String(text.to_owned());
    match kind {
        Kind::Switch => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => ValueKind::Boolean(true),
            "false" | "0" | "no" | "off" => ValueKind::Boolean(false),
            _ => as_text(),
        },
        Kind::Whole(..) | Kind::Seconds(_) => text.trim().parse().map_or_else(|_| as_text(), ValueKind::I64),
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|t| !t.is_empty());
            ValueKind::Array(items.map(|t| Value::new(None, t)).collect())
        }
        Kind::Text
        | Kind::TextOrNumber
        | Kind::Path
        | Kind::Secret
        | Kind::Url
        | Kind::DatabaseUrl
        | Kind::Json
        | Kind::Usd
        | Kind::OneOf(_)
        | Kind::Address => as_text(),
    }
}

fn kind_of(value: &DeValue<'_>) -> ValueKind {
    match value {
        DeValue::String(s) => ValueKind::String(s.to_string()),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix())
            .map_or_else(|_| ValueKind::String(i.to_string()), ValueKind::I64),
        DeValue::Float(f) => f.as_str().parse().map_or(ValueKind::Nil, ValueKind::Float),
        DeValue::Boolean(b) => ValueKind::Boolean(*b),
        // No key takes a date: an empty table is refused by every kind.
        DeValue::Datetime(_) => ValueKind::Table(Map::new()),
        DeValue::Array(items) => ValueKind::Array(
            items
                .iter()
                .map(|v| Value::new(None, kind_of(v.get_ref())))
                .collect(),
        ),
        DeValue::Table(_) => ValueKind::Table(Map::new()),
    }
}
