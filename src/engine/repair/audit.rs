//! The audit of retries as files: `<data_dir>/audit/<scope>.jsonl`, one object per line, appended in the order of the
//! table. The table is the truth: a file that cannot be read is set aside and written anew from it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::id::TaskId;
use crate::domain::retry::Scope;
use crate::engine::{Engine, EngineError, blocking};
use crate::store::retries::{self, Audited};
use crate::store::{StoreError, tasks};

/// Entries read in one go.
const PAGE: usize = 500;
/// A line is shorter than this.
const LINE: u64 = 16 * 1024;

/// A line of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// Row of the table.
    id: i64,
    timestamp: String,
    event_type: String,
    batch_id: Option<String>,
    scope: String,
    task: Option<String>,
    reason: Option<String>,
    retry_count: i32,
    total: i32,
    error: Option<String>,
}

/// What writing came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Entries appended.
    pub lines: usize,
    /// Files that could not be read, under their new names.
    pub set_aside: Vec<String>,
}

/// Appends what the files lack. One at a time; safe to repeat.
///
/// # Errors
/// The database's, the disk's. Nothing depends on the files.
pub async fn write(engine: &Engine) -> Result<Written, EngineError> {
    let mut at = engine.audited.lock().await;
    let dir = engine.settings().data_dir.join("audit");
    let mut written = Written::default();
    let mut after = match *at {
        Some(after) => after,
        None => {
            let found = blocking({
                let dir = dir.clone();
                move || stand(&dir)
            })
            .await?;
            let mut last = found.last;
            for (file, aside) in found.broken {
                written.set_aside.push(aside);
                // Its lines are written anew, up to where the others stand.
                last = last.max(0);
                written.lines += copy(
                    engine,
                    &dir,
                    Part {
                        after: 0,
                        until: last,
                        only: Some(&file),
                    },
                )
                .await?
                .0;
            }
            last
        }
    };
    loop {
        let part = Part {
            after,
            until: i64::MAX,
            only: None,
        };
        let (lines, last) = copy(engine, &dir, part).await?;
        written.lines += lines;
        match last {
            Some(last) => after = last,
            None => break,
        }
    }
    *at = Some(after);
    Ok(written)
}

/// Which entries are copied.
struct Part<'a> {
    after: i64,
    until: i64,
    /// Those of one file.
    only: Option<&'a str>,
}

/// Copies a page, or all pages of one file. Answers how many lines were written, and the last row that was looked at.
async fn copy(engine: &Engine, dir: &Path, mut part: Part<'_>) -> Result<(usize, Option<i64>), EngineError> {
    let mut lines = 0;
    loop {
        let (after, until) = (part.after, part.until);
        let page = engine.store().read(move |tx| {
            let mut found = Vec::new();
            for entry in retries::audited(tx, after, until, PAGE)? {
                let task = entry
                    .task
                    .map(|id: TaskId| tasks::by_id(tx, id))
                    .transpose()?
                    .flatten();
                let task = task.map(|task| task.work_item_id.to_string());
                found.push((entry, task));
            }
            Ok::<_, StoreError>(found)
        });
        let page = page.await?;
        let Some(last) = page.last().map(|(entry, _)| entry.id) else {
            return Ok((lines, None));
        };
        let mut by_file: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        for (entry, task) in page {
            let (file, line) = line(engine, entry, task);
            if part.only.is_none_or(|only| only == file) {
                by_file.entry(file).or_default().push(line);
            }
        }
        lines += by_file.values().map(Vec::len).sum::<usize>();
        let dir = dir.to_owned();
        blocking(move || append(&dir, &by_file)).await?;
        if part.only.is_none() {
            return Ok((lines, Some(last)));
        }
        part.after = last;
    }
}

/// The file that an entry belongs into, and its line.
fn line(engine: &Engine, entry: Audited, task: Option<String>) -> (String, Line) {
    let scope = Scope::parse(&entry.scope);
    let (name, batch_id) = match &scope {
        Some(Scope::Project(id)) => (
            format!("project-{}", engine.project_name(*id).replace('#', "")),
            None,
        ),
        Some(Scope::Batch(id)) => (format!("batch-{id}"), Some(id.to_string())),
        None => ("unknown".to_owned(), None),
    };
    let line = Line {
        id: entry.id,
        timestamp: entry.at.to_string(),
        event_type: entry.event,
        batch_id,
        scope: entry.scope,
        task,
        reason: entry.reason,
        retry_count: entry.retry_count,
        total: entry.total,
        error: entry.error,
    };
    (format!("{name}.jsonl"), line)
}

fn append(dir: &Path, by_file: &BTreeMap<String, Vec<Line>>) -> Result<(), EngineError> {
    let at = |path: PathBuf| EngineError::file(path);
    fs::create_dir_all(dir).map_err(at(dir.to_owned()))?;
    for (name, lines) in by_file {
        let path = dir.join(name);
        let write = || -> io::Result<()> {
            let mut text = String::new();
            for line in lines {
                text.push_str(&serde_json::to_string(line)?);
                text.push('\n');
            }
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_data()
        };
        write().map_err(at(path.clone()))?;
    }
    Ok(())
}

/// How far the files have come.
struct Standing {
    /// The last row that any of them has.
    last: i64,
    /// Files that were set aside, with their new names.
    broken: Vec<(String, String)>,
}

fn stand(dir: &Path) -> Result<Standing, EngineError> {
    let mut standing = Standing {
        last: 0,
        broken: Vec::new(),
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(standing),
        Err(e) => return Err(EngineError::file(dir.to_owned())(e)),
    };
    for entry in entries {
        let path = entry.map_err(EngineError::file(dir.to_owned()))?.path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default()
            .to_owned();
        if !name.ends_with(".jsonl") {
            continue;
        }
        match last_line(&path).map_err(EngineError::file(path.clone()))? {
            Some(line) => standing.last = standing.last.max(line.id),
            None => {
                let aside = set_aside(&path).map_err(EngineError::file(path.clone()))?;
                standing.broken.push((name, aside));
            }
        }
    }
    Ok(standing)
}

/// None when it is no line of ours: torn by a crash, or changed by somebody.
fn last_line(path: &Path) -> io::Result<Option<Line>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LINE)))?;
    let mut end = Vec::new();
    file.take(LINE).read_to_end(&mut end)?;
    let Some(whole) = end.strip_suffix(b"\n") else {
        return Ok(None);
    };
    let begin = whole.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    Ok(serde_json::from_slice(&whole[begin..]).ok())
}

/// Beside itself, under a name that is free.
fn set_aside(path: &Path) -> io::Result<String> {
    for n in 1.. {
        let aside = path.with_extension(format!("jsonl.broken-{n}"));
        if !aside.exists() {
            fs::rename(path, &aside)?;
            return Ok(aside.display().to_string());
        }
    }
    Err(io::Error::other("no name is free for it"))
}
