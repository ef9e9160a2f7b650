//! Word between services on one PostgreSQL database that something was committed. A word says "look" and nothing else:
//! one that is lost, or heard twice, changes nothing but the time at which somebody looks.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};

use super::conn::Conn;
use super::error::StoreError;
use super::wire::{Listening, Woken};

const CHANNEL: &str = "orch";
/// Between two attempts to connect.
const RECONNECT: Duration = Duration::from_secs(1);

/// Listens for as long as it lives.
#[derive(Debug)]
pub struct Listener {
    _stop: UnixStream,
}

/// Tells the other services when the transaction commits, and never when it does not. However often it is said in one
/// transaction, it is heard once.
pub(super) fn tell(conn: &mut Conn) -> Result<(), StoreError> {
    if let Conn::Pg(c) = conn {
        Tell.execute(c)?;
    }
    Ok(())
}

/// A statement of its own, because a query of plain text is prepared anew each time.
struct Tell;

impl QueryId for Tell {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<C> RunQueryDsl<C> for Tell {}

impl QueryFragment<Pg> for Tell {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT pg_notify('orch', '')");
        Ok(())
    }
}

/// Calls `heard` after each word, and after each connection: what was said before it was missed. On a connection of
/// its own, made again when it is lost.
pub(super) fn listen(url: String, heard: impl Fn() + Send + 'static) -> Result<Listener, StoreError> {
    let started = |e: std::io::Error| StoreError::Database {
        why: format!("the listening thread could not be started: {e}"),
    };
    let (stop, stopped) = UnixStream::pair().map_err(started)?;
    stopped.set_read_timeout(Some(RECONNECT)).map_err(started)?;
    let work = move || {
        loop {
            if let Ok(mut listening) = Listening::open(&url, CHANNEL) {
                heard();
                while let Ok(woken) = listening.wait(stopped.as_fd()) {
                    match woken {
                        Woken::ByWords => heard(),
                        Woken::ByCaller => return,
                    }
                }
            }
            // Nobody ever writes: it ends when the listener is dropped.
            if (&stopped).read(&mut [0]).is_ok() {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("orch-listen".to_owned())
        .spawn(work)
        .map(|_| Listener { _stop: stop })
        .map_err(started)
}
