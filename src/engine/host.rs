//! Watches what the service stands on: the disks of its folders and its clock. Tells people once when one gets bad, keeps
//! claims back while a disk is full, and lets them go on when there is room. Never makes room itself.
//!
//! How each part stood is kept in the database, so that a restart does not tell it again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::json;

use crate::domain::delivery::Channel;
use crate::domain::host::{self, Level};
use crate::domain::id::InstanceId;
use crate::domain::time::Timestamp;
use crate::process;
use crate::settings::Settings;
use crate::store::healing::NewHealing;
use crate::store::outbox::{NewOutbox, OutboxKind};
use crate::store::{Conn, StoreError, flags, healing, outbox};

use super::{Engine, EngineError, Hint, blocking};

/// How the host stood at the last look.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// By key; none before the first look.
    stands: tokio::sync::Mutex<Option<BTreeMap<String, Standing>>>,
    /// One of those below.
    room: AtomicU8,
}

/// Nobody has looked yet.
const UNKNOWN: u8 = 0;
/// There is room.
const ROOM: u8 = 1;
/// There is none.
const FULL: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    level: Level,
    since: Timestamp,
}

/// Of a part that nothing was ever said about.
const FINE: Standing = Standing {
    level: Level::Fine,
    since: Timestamp(0),
};

/// A part of the host, measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `disk.data_dir`, `disk.repos_dir`, `clock`.
    pub key: &'static str,
    /// For people: "the disk of data_dir (/srv/orch)".
    pub what: String,
    /// What was measured.
    pub reading: Reading,
}

/// What was measured of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// How full a disk is, thousandths.
    Used(u32),
    /// The database's clock minus ours, microseconds.
    Ahead(i64),
}

/// What a look came to, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Got bad, and was told to people.
    pub worse: Vec<String>,
    /// Is better.
    pub better: Vec<String>,
    /// Could not be measured.
    pub trouble: Vec<String>,
}

/// A part whose level is another one than before.
#[derive(Clone, Debug)]
struct Crossing {
    key: String,
    was: Standing,
    is: Level,
    text: String,
}

/// The disks of `data_dir` and `repos_dir`, each once. Blocking; one system call for each.
pub fn disks(settings: &Settings) -> (Vec<Part>, Vec<String>) {
    let folders: [(_, _, &Path); 2] = [
        ("disk.data_dir", "data_dir", &settings.data_dir),
        ("disk.repos_dir", "repos_dir", &settings.repos_dir),
    ];
    let (mut parts, mut trouble, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for (key, name, folder) in folders {
        match process::disk(folder) {
            Ok(disk) if seen.contains(&disk.device) => {}
            Ok(disk) => {
                seen.push(disk.device);
                parts.push(Part {
                    key,
                    what: format!("the disk of {name} ({})", folder.display()),
                    reading: Reading::Used(disk.used_permille),
                });
            }
            Err(e) => trouble.push(format!("{name} ({}): {e}", folder.display())),
        }
    }
    (parts, trouble)
}

/// Looks at the host. Where everything stands as before, nothing is written and nothing told.
///
/// # Errors
/// The database's: claims are kept back all the same, and the next look tells it.
pub async fn look(engine: &Engine) -> Result<Looked, EngineError> {
    if !engine.settings().host.watch_enabled {
        return Ok(Looked::default());
    }
    let settings = engine.parts.settings.clone();
    let (mut parts, trouble) = blocking(move || Ok::<_, EngineError>(disks(&settings))).await?;
    if engine.store().is_shared() {
        parts.push(Part {
            key: "clock",
            what: "the clock".to_owned(),
            reading: Reading::Ahead(engine.ahead_us.load(Ordering::Relaxed)),
        });
    }
    judge(engine, parts, trouble).await
}

/// What a look makes of what was measured.
///
/// # Errors
/// As [`look`].
pub async fn judge(engine: &Engine, parts: Vec<Part>, trouble: Vec<String>) -> Result<Looked, EngineError> {
    let limits = engine.settings().host.limits;
    let mut known = engine.host.stands.lock().await;
    let (mut stands, unread) = match known.clone() {
        Some(stands) => (stands, None),
        None => match remembered(engine, &parts).await {
            Ok(stands) => (stands, None),
            Err(e) => (BTreeMap::new(), Some(e)),
        },
    };
    let mut crossings = Vec::new();
    let mut full = false;
    for part in parts {
        let key = flag(engine, part.key);
        let was = stands.get(&key).copied().unwrap_or(FINE);
        let is = match part.reading {
            Reading::Used(permille) => host::disk(was.level, permille, limits),
            Reading::Ahead(us) => host::clock(was.level, us),
        };
        full |= is == Level::Stop;
        if is != was.level {
            let text = text(engine, &part, is);
            crossings.push(Crossing { key, was, is, text });
        }
    }
    // Before anything is written: a full disk may take no alert.
    let was_full = engine
        .host
        .room
        .swap(if full { FULL } else { ROOM }, Ordering::AcqRel)
        == FULL;
    if was_full && !full {
        engine.hint(Hint::Jobs);
    }
    if let Some(e) = unread {
        return Err(e.into());
    }
    let since = engine.now();
    tell(engine, crossings.clone(), since).await?;
    let now = |c: &Crossing| (c.key.clone(), Standing { level: c.is, since });
    stands.extend(crossings.iter().map(now));
    *known = Some(stands);
    let (worse, better): (Vec<_>, Vec<_>) = crossings.into_iter().partition(|c| c.is > c.was.level);
    let lines = |crossings: Vec<Crossing>| crossings.into_iter().map(|c| c.text).collect();
    Ok(Looked {
        worse: lines(worse),
        better: lines(better),
        trouble,
    })
}

/// Whether a disk is too full to claim anything that needs room. Measured where nobody has looked yet.
pub(super) async fn is_full(engine: &Engine) -> bool {
    if !engine.settings().host.watch_enabled {
        return false;
    }
    if engine.host.room.load(Ordering::Acquire) == UNKNOWN {
        let settings = engine.parts.settings.clone();
        let looked = blocking(move || Ok::<_, EngineError>(disks(&settings))).await;
        let limits = engine.settings().host.limits;
        let is_full = |part: &Part| match part.reading {
            Reading::Used(permille) => host::disk(Level::Fine, permille, limits) == Level::Stop,
            Reading::Ahead(_) => false,
        };
        return looked.is_ok_and(|(parts, _)| parts.iter().any(is_full));
    }
    was_full(engine)
}

/// Whether one was at the last look.
pub(super) fn was_full(engine: &Engine) -> bool {
    engine.host.room.load(Ordering::Acquire) == FULL
}

fn flag(engine: &Engine, key: &str) -> String {
    format!("host.{}.{key}", engine.settings().node.as_str())
}

/// How the parts stood before this boot.
async fn remembered(engine: &Engine, parts: &[Part]) -> Result<BTreeMap<String, Standing>, StoreError> {
    let keys: Vec<String> = parts.iter().map(|part| flag(engine, part.key)).collect();
    let read = engine.store().read(move |tx| {
        let mut found = BTreeMap::new();
        for key in keys {
            let value = flags::get(tx, &key)?;
            if let Some(standing) = value.as_deref().and_then(parse) {
                found.insert(key, standing);
            }
        }
        Ok::<_, StoreError>(found)
    });
    read.await
}

fn parse(value: &str) -> Option<Standing> {
    let (level, since) = value.split_once(' ')?;
    Some(Standing {
        level: Level::parse(level)?,
        since: Timestamp(since.parse().ok()?),
    })
}

fn text(engine: &Engine, part: &Part, is: Level) -> String {
    let (node, limits) = (engine.settings().node.as_str(), engine.settings().host.limits);
    let what = format!("{} on node {node}", part.what);
    match (part.reading, is) {
        (Reading::Used(n), Level::Fine) => format!("{what} has room again: {} used", percent(n)),
        (Reading::Used(n), Level::Alert) => format!(
            "{what} is {} full: `orch prune` makes room; above {} % nothing is claimed",
            percent(n),
            limits.stop_percent
        ),
        (Reading::Used(n), Level::Stop) => format!(
            "{what} is {} full: nothing is claimed until there is room; `orch prune` makes some",
            percent(n)
        ),
        (Reading::Ahead(us), Level::Fine) => {
            format!("{what} is right again: {} s from the database's", us / 1_000_000)
        }
        (Reading::Ahead(us), Level::Alert | Level::Stop) => format!(
            "{what} differs from the database's by {} s: set it right",
            us / 1_000_000
        ),
    }
}

/// Thousandths as people write them.
pub fn percent(permille: u32) -> String {
    format!("{}.{} %", permille / 10, permille % 10)
}

async fn tell(engine: &Engine, crossings: Vec<Crossing>, now: Timestamp) -> Result<(), EngineError> {
    if crossings.is_empty() {
        return Ok(());
    }
    let instance = engine.instance().clone();
    let told = engine.store().write(move |tx| {
        for crossing in &crossings {
            keep(tx, crossing, &instance, now)?;
        }
        Ok::<_, StoreError>(())
    });
    told.await?;
    engine.committed();
    Ok(())
}

fn keep(tx: &mut Conn, crossing: &Crossing, instance: &InstanceId, now: Timestamp) -> Result<(), StoreError> {
    let Crossing { key, was, is, text } = crossing;
    flags::set(tx, key, &format!("{} {}", is.as_str(), now.0))?;
    if *is > was.level {
        // Its time is part of the cause: the next crossing is another one.
        let notice = NewOutbox {
            task_id: None,
            cause: format!("{key}:{}:{}", is.as_str(), now.0),
            kind: OutboxKind::Notification,
            channel: Channel::People,
            payload: json!({ "about": "host", "task": null, "text": text }),
            available_at: now,
        };
        outbox::push(tx, &notice, now)?;
    }
    if was.level == Level::Stop {
        let healed = NewHealing {
            kind: "host".to_owned(),
            subject: "claims".to_owned(),
            why: text.clone(),
            action: "claims go on".to_owned(),
            stuck: Some(now.since(was.since)),
            instance: instance.clone(),
        };
        healing::push(tx, &healed, now)?;
    }
    Ok(())
}
