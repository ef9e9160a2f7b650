//! Folders of runs that are long over: those named `<job>-<epoch>` in `data_dir/runs`, and nothing else. Never follows
//! a link, and never removes the copy of work that is still kept.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::id::{ClaimEpoch, JobId};
use crate::domain::job::Claim;
use crate::domain::retention::{Fate, fate};
use crate::domain::time::Timestamp;
use crate::process::{self, RunState};
use crate::store::retention::{self, Act};

use super::super::run::wip_copy;
use super::super::{Engine, EngineError, blocking};
use super::BATCH;

/// What became of the folders.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub(super) folders: u64,
    pub(super) bytes: u64,
    pub(super) trouble: Vec<String>,
}

/// A folder as it was found.
#[derive(Clone)]
struct Folder {
    claim: Claim,
    path: PathBuf,
    touched: Timestamp,
}

/// Removes the folders whose time is over, or counts them.
pub(super) async fn prune(
    engine: &Engine,
    act: Act,
    keep: Duration,
    now: Timestamp,
) -> Result<Gone, EngineError> {
    let dir = engine.settings().data_dir.join("runs");
    let found = blocking(move || list(&dir)).await?;
    let mut gone = Gone::default();
    for page in found.chunks(BATCH) {
        let claims: Vec<Claim> = page.iter().map(|folder| folder.claim).collect();
        let known = engine
            .store()
            .read(move |tx| retention::known(tx, &claims))
            .await?;
        for (folder, run) in page.iter().zip(known) {
            let fate = fate(run, folder.touched, keep, now);
            let path = folder.path.clone();
            match blocking(move || remove(&path, fate, act)).await {
                Ok(0) => {}
                Ok(bytes) => {
                    gone.folders += 1;
                    gone.bytes += bytes;
                }
                Err(e) => gone.trouble.push(e.to_string()),
            }
        }
    }
    Ok(gone)
}

fn list(dir: &Path) -> Result<Vec<Folder>, EngineError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(EngineError::file(dir)(e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(EngineError::file(dir))?;
        let (Some(claim), Ok(about)) = (claim_in(&entry.file_name().to_string_lossy()), entry.metadata())
        else {
            continue;
        };
        // Of the entry itself: a link is not a folder.
        if about.is_dir() {
            found.push(Folder {
                claim,
                path: entry.path(),
                touched: Timestamp(about.mtime().saturating_mul(1_000_000)),
            });
        }
    }
    Ok(found)
}

/// The claim that a folder is named after: two numbers and nothing else.
fn claim_in(name: &str) -> Option<Claim> {
    let (job, epoch) = name.split_once('-')?;
    let number = |text: &str| {
        let plain = text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    Some(Claim {
        job: JobId(number(job)?),
        epoch: ClaimEpoch(number(epoch)?),
    })
}

/// Removes what is to go; answers how much room it took. Nothing of a program that lives, whatever the rows say.
fn remove(path: &Path, fate: Fate, act: Act) -> Result<u64, EngineError> {
    let goes = match fate {
        Fate::Keep => return Ok(0),
        Fate::Remove => vec![path.to_owned()],
        Fate::KeepCopy => {
            let copy = wip_copy(path);
            below(path)?.into_iter().filter(|entry| *entry != copy).collect()
        }
    };
    if goes.is_empty() || matches!(process::look(path, None)?, RunState::Running(_)) {
        return Ok(0);
    }
    let mut bytes = 0;
    for entry in goes {
        bytes += room(&entry);
        if act == Act::Remove {
            delete(&entry).map_err(EngineError::file(&entry))?;
        }
    }
    // An empty folder of a file system that counts no blocks for one is a folder all the same.
    Ok(bytes.max(1))
}

fn delete(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn below(dir: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let entries = fs::read_dir(dir).map_err(EngineError::file(dir))?;
    entries
        .map(|entry| Ok(entry.map_err(EngineError::file(dir))?.path()))
        .collect()
}

/// Disk that a file or folder occupies. What cannot be read counts nothing.
fn room(path: &Path) -> u64 {
    let Ok(about) = fs::symlink_metadata(path) else {
        return 0;
    };
    let inside = match about.is_dir() {
        true => below(path).unwrap_or_default(),
        false => Vec::new(),
    };
    about.blocks() * 512 + inside.iter().map(|entry| room(entry)).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_numbers_name_a_folder_of_a_run() {
        let claim = |job, epoch| {
            Some(Claim {
                job: JobId(job),
                epoch: ClaimEpoch(epoch),
            })
        };
        let table = [
            ("7-1", claim(7, 1)),
            ("7", None),
            ("7-1-tests-abc", None),
            ("+7-1", None),
            ("7--1", None),
            ("-1", None),
            ("a-1", None),
            ("99999999999999999999-1", None),
        ];
        for (name, expected) in table {
            assert_eq!(claim_in(name), expected, "{name}");
        }
    }
}
