//! Before a database is used: whether it is free, writable, ours, and of a version that is known. What is
//! refused is left as it was.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::conn::{Conn, Purpose};
use super::error::StoreError;
use super::migrations;
use super::place::Place;

/// Connects for writing and brings the schema up to date. A newer or foreign database is left untouched.
pub(super) fn prepare(place: &Place) -> Result<Conn, StoreError> {
    if let Place::Sqlite(path) = place {
        check_writable(path)?;
        check_header(path)?;
    }
    let mut conn = Conn::establish(place, Purpose::Inspect)?;
    migrations::pending(&mut conn, place)?;
    drop(conn);
    let mut conn = Conn::establish(place, Purpose::Write)?;
    migrations::run(&mut conn, place)?;
    Ok(conn)
}

/// How often, and after which pauses, a lock that is held is tried for again.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Makes sure that no other service uses the file.
pub(super) fn lock_file(path: &Path) -> Result<File, StoreError> {
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(|e| StoreError::Folder {
        place: folder.display().to_string(),
        why: e.to_string(),
    })?;
    let lock_path = PathBuf::from(format!("{}.lock", path.display()));
    let not_writable = |e: std::io::Error| refused(&lock_path, &e);
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(not_writable)?;
    // Of a service that was killed, a child that is just being started may hold it until it is another program.
    let mut tries = LOCK_TRIES;
    let locked = loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if tries > 0 => tries -= 1,
            locked => break locked,
        }
        std::thread::sleep(LOCK_PAUSE);
    };
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let known = lock.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            let holder = if known { holder.trim() } else { "unknown process" };
            return Err(StoreError::InUse {
                place: path.display().to_string(),
                holder: holder.to_owned(),
            });
        }
        Err(TryLockError::Error(e)) => return Err(not_writable(e)),
    }
    // For the message above only: who holds the lock is known to the system.
    lock.set_len(0).map_err(not_writable)?;
    writeln!(lock, "process {}", std::process::id()).map_err(not_writable)?;
    Ok(lock)
}

/// Whether a service could write here, and now. Changes nothing.
pub(super) fn check_use(place: &Place) -> Result<(), StoreError> {
    if let Place::Sqlite(path) = place {
        if !path.exists() {
            return Ok(());
        }
        check_writable(path)?;
    }
    let mut conn = Conn::establish(place, Purpose::Inspect)?;
    let begun = conn.begin_immediate().and_then(|()| conn.rollback());
    begun.map_err(|e| StoreError::from(e).at(&place.to_string()))
}

fn check_writable(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(refused(path, &e)),
    }
}

/// What the system's refusal to write means.
fn refused(path: &Path, e: &std::io::Error) -> StoreError {
    let place = path.display().to_string();
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::DiskFull { place },
        ErrorKind::IsADirectory => StoreError::NotADatabase { place },
        _ => StoreError::NotWritable {
            place,
            why: e.to_string(),
        },
    }
}

/// SQLite would find out too, but only after it has made files beside it.
pub(super) fn check_header(path: &Path) -> Result<(), StoreError> {
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    let mut head = Vec::new();
    match File::open(path).and_then(|f| f.take(16).read_to_end(&mut head)) {
        Ok(0) => Ok(()),
        Ok(_) if head == MAGIC => Ok(()),
        Ok(_) => Err(StoreError::NotADatabase {
            place: path.display().to_string(),
        }),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == ErrorKind::IsADirectory => Err(refused(path, &e)),
        Err(e) => Err(StoreError::Unreachable {
            place: path.display().to_string(),
            why: e.to_string(),
        }),
    }
}
