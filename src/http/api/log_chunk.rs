//! A piece of a log file. Blocks: call it where blocking is allowed. Never reads more than one piece.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Most bytes in one piece.
const MOST: u64 = 1 << 20;

/// A piece, and where the next one begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) next: u64,
}

/// Reads from `offset`. Beyond the end there is nothing, and the next piece begins at the end; so it is for a log
/// that does not exist yet.
pub(super) fn read(path: &Path, offset: u64) -> io::Result<Chunk> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Ok(Chunk {
                bytes: Vec::new(),
                next: 0,
            });
        }
        Err(e) => return Err(e),
    };
    let from = offset.min(file.metadata()?.len());
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    let read = if from == offset {
        file.take(MOST).read_to_end(&mut bytes)?
    } else {
        0
    };
    Ok(Chunk {
        bytes,
        next: from + read as u64,
    })
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn chunk(bytes: &[u8], next: u64) -> Chunk {
        Chunk {
            bytes: bytes.to_vec(),
            next,
        }
    }

    #[test]
    fn a_log_is_read_from_an_offset_and_never_beyond_its_end() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("log");
        assert_eq!(read(&path, 7).expect("no log yet"), chunk(b"", 0));
        std::fs::write(&path, b"hello").expect("log");
        assert_eq!(read(&path, 0).expect("all"), chunk(b"hello", 5));
        assert_eq!(read(&path, 3).expect("rest"), chunk(b"lo", 5));
        assert_eq!(read(&path, 5).expect("at the end"), chunk(b"", 5));
        assert_eq!(read(&path, u64::MAX).expect("beyond"), chunk(b"", 5));
    }

    #[test]
    fn one_piece_is_one_mebibyte_at_most() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("log");
        std::fs::write(&path, vec![b'x'; (1 << 20) + 3]).expect("log");
        let piece = read(&path, 0).expect("a piece");
        assert_eq!((piece.bytes.len(), piece.next), (1 << 20, 1 << 20));
        assert_eq!(read(&path, piece.next).expect("the rest").bytes.len(), 3);
    }
}
