//! The data directory: made so that it never shows up in a person's repository. Never looks at what is in it.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Makes the data directory when it is missing. The default is a folder beside the work, often inside a repository:
/// git is told to pass over it.
///
/// # Errors
/// When it cannot be made or written.
pub fn ensure(data_dir: &Path) -> io::Result<()> {
    if data_dir.is_dir() && is_in_use(data_dir)? {
        return Ok(());
    }
    // Prompts, logs and launch specs are nobody else's business.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)?;
    fs::write(data_dir.join(".gitignore"), "*\n")
}

/// An empty folder was made for us, as was one in which a person put project files. What holds more may be theirs.
fn is_in_use(data_dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(data_dir)? {
        if entry?.file_name() != "projects" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tries whether a folder that exists can be written: rights, read-only mounts and full disks all show.
///
/// # Errors
/// The system's, when it cannot.
pub fn probe(folder: &Path) -> io::Result<()> {
    let file = folder.join(format!(".orch-probe-{}", std::process::id()));
    let written = fs::write(&file, b"orch");
    // Also removed when only part of it could be written.
    let removed = fs::remove_file(&file);
    written.and(removed)
}

/// What stands in the way of a folder: the first part of its path that is there and is no folder.
pub fn obstacle(folder: &Path) -> Option<&Path> {
    let there = folder.ancestors().find(|p| p.symlink_metadata().is_ok())?;
    (!there.is_dir()).then_some(there)
}
