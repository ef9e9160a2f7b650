//! The audit of retries as files: `<data_dir>/audit/<scope>.jsonl`, one object per line, appended in the order of the
//! table. The table is the truth: a line that a crash tore is cut off, a file that cannot be read is set aside, and what
//! is missing then is written anew from it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::id::TaskId;
use crate::domain::retry::Scope;
use crate::engine::{Engine, EngineError, blocking};
use crate::store::retries::{self, Audited};
use crate::store::{StoreError, readable, tasks};

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
    /// Files whose last line a crash tore; it was cut off.
    pub mended: Vec<String>,
}

/// How far the files of this node have come.
#[derive(Debug, Default)]
pub struct Standing {
    /// Every entry up to this row is in its file.
    after: i64,
    /// The last row in each file. Entries get their rows in the order in which they are committed
    /// ([`retries::audit`]), so a file has whatever of its own is not behind that.
    last: BTreeMap<String, i64>,
}

/// Appends what the files lack. One at a time; safe to repeat, and to be cut off anywhere: how far the files have come is
/// written down after they were, and a line that is in its file already is known by its row.
///
/// # Errors
/// The database's, the disk's. Nothing depends on the files.
pub async fn write(engine: &Engine) -> Result<Written, EngineError> {
    let mut held = engine.audited.lock().await;
    let dir = engine.settings().data_dir.join("audit");
    let mut written = Written::default();
    // What fails half way leaves files that have to be looked at anew.
    let mut standing = match held.take() {
        Some(standing) => standing,
        None => {
            let dir = dir.clone();
            let standing;
            (standing, written) = blocking(move || stand(&dir)).await?;
            standing
        }
    };
    while let Some(lines) = copy(engine, &dir, &mut standing).await? {
        written.lines += lines;
    }
    *held = Some(standing);
    Ok(written)
}

/// Copies a page. Answers how many lines were written; none at the end of the table.
async fn copy(engine: &Engine, dir: &Path, standing: &mut Standing) -> Result<Option<usize>, EngineError> {
    let after = standing.after;
    let page = engine.store().read(move |tx| {
        let mut found = Vec::new();
        for entry in retries::audited(tx, after, PAGE)? {
            let task = entry.task.map(|id: TaskId| readable(tasks::by_id(tx, id)));
            let task = task.transpose()?.flatten();
            found.push((entry, task.map(|task| task.work_item_id.to_string())));
        }
        Ok::<_, StoreError>(found)
    });
    let page = page.await?;
    let Some(upto) = page.last().map(|(entry, _)| entry.id) else {
        return Ok(None);
    };
    let mut by_file: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for (entry, task) in page {
        let (file, line) = line(engine, entry, task);
        let last = standing.last.entry(file.clone()).or_default();
        if line.id > *last {
            *last = line.id;
            by_file.entry(file).or_default().push(line);
        }
    }
    let lines = by_file.values().map(Vec::len).sum();
    let dir = dir.to_owned();
    blocking(move || {
        append(&dir, &by_file)?;
        remember(&dir, upto)
    })
    .await?;
    standing.after = upto;
    Ok(Some(lines))
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

/// Where it stands up to which row the files are complete.
const MARK: &str = "written";

fn remember(dir: &Path, upto: i64) -> Result<(), EngineError> {
    let (mark, new) = (dir.join(MARK), dir.join("written.new"));
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(format!("{upto}\n").as_bytes())?;
        file.sync_data()?;
        deed!("mark the audit as written", fs::rename(&new, &mark))?;
        // With the names of files that are new.
        File::open(dir)?.sync_all()
    };
    write().map_err(EngineError::file(mark.clone()))
}

/// What the files of a folder say, and what was mended. Where it was, or where nobody wrote down how far they have come,
/// every entry is looked at again.
fn stand(dir: &Path) -> Result<(Standing, Written), EngineError> {
    let (mut standing, mut mended) = (Standing::default(), Written::default());
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((standing, mended)),
        Err(e) => return Err(EngineError::file(dir.to_owned())(e)),
    };
    for entry in entries {
        let path = entry.map_err(EngineError::file(dir.to_owned()))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if !name.ends_with(".jsonl") {
            continue;
        }
        let at = || EngineError::file(path.clone());
        match end_of(&path).map_err(at())? {
            End::Whole(last) => drop(standing.last.insert(name.to_owned(), last)),
            End::Torn { whole, last } => {
                cut_off(&path, whole).map_err(at())?;
                standing.last.insert(name.to_owned(), last);
                mended.mended.push(path.display().to_string());
            }
            End::Foreign => mended.set_aside.push(set_aside(&path).map_err(at())?),
        }
    }
    // One that cannot be read says nothing.
    let mark = fs::read_to_string(dir.join(MARK)).ok();
    let mark = mark.and_then(|text| text.trim().parse().ok());
    let as_left = mended.set_aside.is_empty() && mended.mended.is_empty();
    standing.after = mark.filter(|_| as_left).unwrap_or(0);
    Ok((standing, mended))
}

/// How a file ends.
enum End {
    /// With a line of this row.
    Whole(i64),
    /// In the middle of a line, as a crash leaves it: up to there it is whole, and that ends with a line of this row; 0
    /// where nothing is before it.
    Torn { whole: u64, last: i64 },
    /// With no line of ours: changed by somebody.
    Foreign,
}

fn end_of(path: &Path) -> io::Result<End> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // Room for the line before a torn one.
    let from = length.saturating_sub(2 * LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.take(2 * LINE).read_to_end(&mut end)?;
    let whole = end.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let (lines, torn) = end.split_at(whole);
    let last = lines.strip_suffix(b"\n").map(|lines| {
        let begin = lines.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        serde_json::from_slice::<Line>(&lines[begin..]).map(|line| line.id)
    });
    Ok(match (last, torn) {
        (Some(Ok(last)), []) => End::Whole(last),
        (Some(Ok(last)), _) => End::Torn {
            whole: from + whole as u64,
            last,
        },
        // The very first line was torn.
        (None, [b'{', ..]) if from == 0 => End::Torn { whole: 0, last: 0 },
        (Some(Err(_)) | None, _) => End::Foreign,
    })
}

fn cut_off(path: &Path, whole: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(whole)?;
    file.sync_data()
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
