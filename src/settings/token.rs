//! The token of a service whose operator chose none: a file in the data directory that only its owner may read.
//! The command line reads it too. Never overwrites a token that is there.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the token of a data directory is.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("api-token")
}

/// The token of this data directory, if it has one.
///
/// # Errors
/// When the file is there but cannot be read; the line names it.
pub fn read(data_dir: &Path) -> io::Result<Option<String>> {
    let path = path(data_dir);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|t| !t.is_empty())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(named(&path, "read", &e)),
    }
}

/// The token of this data directory; 32 random bytes in hex when it had none.
///
/// # Errors
/// When the file can neither be read nor written; the line names it.
pub fn ensure(data_dir: &Path) -> io::Result<String> {
    if let Some(token) = read(data_dir)? {
        return Ok(token);
    }
    let token = random_hex()?;
    let path = path(data_dir);
    store(data_dir, &path, &token).map_err(|e| named(&path, "write", &e))?;
    Ok(token)
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}

/// Written aside and renamed, so that no one reads half a token.
fn store(data_dir: &Path, path: &Path, token: &str) -> io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let aside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&aside, path)
}

fn named(path: &Path, deed: &str, e: &io::Error) -> io::Error {
    let path = path.display();
    io::Error::new(
        e.kind(),
        format!("cannot {deed} the token file {path}: {e}; check data_dir (ORCH_DATA_DIR) and its rights"),
    )
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().expect("folder");
        let data = dir.path().join("data");
        assert_eq!(read(&data).expect("no token is no error"), None);
        let token = ensure(&data).expect("a token");
        assert_eq!(token.len(), 64);
        assert_eq!(ensure(&data).expect("the same"), token);
        assert_eq!(read(&data).expect("readable"), Some(token));
        let mode = fs::metadata(path(&data)).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_token_file_that_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().expect("folder");
        fs::create_dir(path(dir.path())).expect("in the way");
        let said = ensure(dir.path()).expect_err("a folder is no token").to_string();
        assert!(
            said.contains("api-token") && said.contains("ORCH_DATA_DIR"),
            "{said}"
        );
    }
}
