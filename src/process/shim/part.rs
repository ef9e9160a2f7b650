//! One file of the log. Never decides which part comes next.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::process::files::private;

/// One file of the log.
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    cap: u64,
    file: Option<File>,
    /// Bytes of the agent in it.
    pub len: u64,
    /// A line's end is missing, and the next bytes may not be what continues it.
    torn: bool,
    ends_line: bool,
}

impl Part {
    /// A part that is to hold at most `cap` bytes. Its file is made when it is needed.
    pub fn new(path: PathBuf, cap: u64) -> Self {
        Self {
            path,
            cap,
            file: None,
            len: 0,
            torn: false,
            ends_line: true,
        }
    }

    /// Makes its file, empty.
    pub fn create(&mut self) -> io::Result<()> {
        self.file().map(drop)
    }

    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => private().open(&self.path)?,
        };
        Ok(self.file.insert(file))
    }

    /// How much of `bytes` belongs in here: all, else as many lines as there is room for. A line that has no room
    /// even in an empty part is cut.
    pub fn fitting(&self, bytes: &[u8]) -> usize {
        let room = usize::try_from(self.cap.saturating_sub(self.len)).unwrap_or(usize::MAX);
        if bytes.len() <= room {
            return bytes.len();
        }
        match bytes[..room].iter().rposition(|&b| b == b'\n') {
            Some(newline) => newline + 1,
            None if self.len == 0 => room,
            None => 0,
        }
    }

    /// Writes all of this; on an error, what could be.
    pub fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.torn {
            self.end_line()?;
            self.torn = false;
        }
        while !bytes.is_empty() {
            match self.file()?.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.len += n as u64;
                    self.ends_line = bytes[n - 1] == b'\n';
                    bytes = &bytes[n..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.torn = true;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Ends a line that its stream left open. Not counted: the agent did not print it.
    pub fn end_line(&mut self) -> io::Result<()> {
        if !self.ends_line {
            self.file()?.write_all(b"\n")?;
            self.ends_line = true;
        }
        Ok(())
    }

    /// Takes over all of a finished part, and removes it.
    pub fn append(&mut self, part: Part) -> io::Result<()> {
        if part.file.is_none() {
            return Ok(());
        }
        drop(part.file);
        let mut source = File::open(&part.path)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match source.read(&mut buffer)? {
                0 => break,
                n => self.put(&buffer[..n])?,
            }
        }
        fs::remove_file(&part.path)
    }
}
