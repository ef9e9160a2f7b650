//! Word between services on one PostgreSQL database that something was committed. A word says "look" and nothing else:
//! one that is lost, or heard twice, changes nothing but the time at which somebody looks.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};

use super::conn::{Conn, Purpose};
use super::error::StoreError;
use super::place::Place;

/// Between two looks at what the connection has received. A look asks the server nothing: Diesel does not give away the
/// socket that could be waited for.
const LOOK: Duration = Duration::from_millis(50);
/// Between two attempts to connect.
const RECONNECT: Duration = Duration::from_secs(1);

/// Listens for as long as it lives.
#[derive(Debug)]
pub struct Listener {
    _stop: Sender<()>,
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
pub(super) fn listen(place: Place, heard: impl Fn() + Send + 'static) -> Result<Listener, StoreError> {
    let (sender, stop) = channel();
    let stopped = move |wait| stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
    let work = move || {
        loop {
            if let Ok(mut conn) = connect(&place) {
                heard();
                while let Ok(words) = received(&mut conn) {
                    if words > 0 {
                        heard();
                    }
                    if stopped(LOOK) {
                        return;
                    }
                }
            }
            if stopped(RECONNECT) {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("orch-listen".to_owned())
        .spawn(work)
        .map(|_| Listener { _stop: sender })
        .map_err(|e| StoreError::Database {
            why: format!("the listening thread could not be started: {e}"),
        })
}

fn connect(place: &Place) -> Result<Conn, StoreError> {
    let mut conn = Conn::establish(place, Purpose::Inspect)?;
    conn.batch("SET application_name = 'orch listens'; LISTEN orch")?;
    Ok(conn)
}

/// How many words have come since the last look. Does not wait.
fn received(conn: &mut Conn) -> QueryResult<usize> {
    match conn {
        Conn::Sqlite(_) => Ok(0),
        Conn::Pg(c) => c.notifications_iter().try_fold(0, |n, word| word.map(|_| n + 1)),
    }
}
