//! A connection that listens, on libpq itself: Diesel has no socket to wait for. All `unsafe` of the store is here.
//! Never runs a query of anybody.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;

use pq_sys::{
    ConnStatusType, ExecStatusType, PGconn, PQclear, PQconnectdb, PQconsumeInput, PQerrorMessage, PQexec,
    PQfinish, PQfreemem, PQnotifies, PQresultStatus, PQsocket, PQstatus,
};

use super::error::StoreError;

/// A connection on which `LISTEN` was said. Closed when dropped.
pub(super) struct Listening {
    conn: NonNull<PGconn>,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// Words have come.
    ByWords,
    /// The other descriptor can be read, or its other end is gone.
    ByCaller,
}

impl Listening {
    /// Connects and says `LISTEN channel`, a name that needs no quotes.
    pub(super) fn open(url: &str, channel: &str) -> Result<Self, StoreError> {
        let text = |text: String| CString::new(text).map_err(|_| lost("an address with a NUL"));
        let (url, listen) = (text(url.to_owned())?, text(format!("LISTEN {channel}"))?);
        // SAFETY: the text ends with NUL and outlives the call; what is returned is ours, to be closed in `drop`.
        let conn = NonNull::new(unsafe { PQconnectdb(url.as_ptr()) });
        let listening = Self {
            conn: conn.ok_or_else(|| lost("out of memory"))?,
        };
        let at = listening.conn.as_ptr();
        // SAFETY: `at` is an open PGconn until `listening` is dropped; the result is read once and freed.
        let heard = unsafe {
            PQstatus(at) == ConnStatusType::CONNECTION_OK && {
                let result = PQexec(at, listen.as_ptr());
                let status = PQresultStatus(result);
                PQclear(result);
                status == ExecStatusType::PGRES_COMMAND_OK
            }
        };
        match heard {
            true => Ok(listening),
            false => Err(listening.failed()),
        }
    }

    /// Waits, for as long as it takes, until words have come or `caller` wakes it. Words that came together count once.
    pub(super) fn wait(&mut self, caller: BorrowedFd<'_>) -> Result<Woken, StoreError> {
        loop {
            if self.take_words() {
                return Ok(Woken::ByWords);
            }
            // SAFETY: `conn` is an open PGconn.
            let socket: RawFd = unsafe { PQsocket(self.conn.as_ptr()) };
            let mut both = [socket, caller.as_raw_fd()].map(|fd| libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            });
            // SAFETY: the array outlives the call and its length is passed with it.
            let woken = unsafe { libc::poll(both.as_mut_ptr(), 2, -1) };
            if both[1].revents != 0 {
                return Ok(Woken::ByCaller);
            }
            // SAFETY: `conn` is an open PGconn; the call reads what the socket has and does not wait.
            if woken > 0 && unsafe { PQconsumeInput(self.conn.as_ptr()) } == 0 {
                return Err(self.failed());
            }
        }
    }

    fn take_words(&mut self) -> bool {
        let mut any = false;
        // SAFETY: each notification is ours and freed once; none is read.
        unsafe {
            while let Some(word) = NonNull::new(PQnotifies(self.conn.as_ptr())) {
                PQfreemem(word.as_ptr().cast());
                any = true;
            }
        }
        any
    }

    fn failed(&self) -> StoreError {
        // SAFETY: the message belongs to the open PGconn, ends with NUL, and is copied at once.
        let words = unsafe { CStr::from_ptr(PQerrorMessage(self.conn.as_ptr())) };
        lost(words.to_string_lossy().trim())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // SAFETY: `conn` is open and nobody uses it afterwards.
        unsafe { PQfinish(self.conn.as_ptr()) };
    }
}

fn lost(why: &str) -> StoreError {
    StoreError::Unreachable {
        place: "the listening connection".to_owned(),
        why: why.to_owned(),
    }
}
