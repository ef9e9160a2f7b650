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
    if data_dir.is_dir() {
        return Ok(());
    }
    // Prompts, logs and launch specs are nobody else's business.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)?;
    fs::write(data_dir.join(".gitignore"), "*\n")
}
