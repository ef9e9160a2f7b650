//! One command in one transaction or savepoint. A command that fails or panics takes nothing with it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::conn::Conn;
use super::error::StoreError;

/// How a command went.
pub(super) struct Attempt<T, E> {
    /// Its own result; an error if its transaction could not be closed.
    pub(super) result: Result<T, E>,
    /// The transaction around it is gone too: what else was in it was not kept.
    pub(super) lost: bool,
}

/// Runs a command in a transaction of its own, or in a savepoint where one is open.
pub(super) fn attempt<T, E, F>(conn: &mut Conn, command: F) -> Attempt<T, E>
where
    E: From<StoreError>,
    F: FnOnce(&mut Conn) -> Result<T, E>,
{
    let Some(outside) = conn.depth() else {
        return failed(StoreError::Closed);
    };
    match conn.begin() {
        Ok(()) => finish(conn, outside, command),
        Err(error) => failed(error.into()),
    }
}

/// Runs a command in the transaction that was just begun, and ends it. `outside` were open before that.
pub(super) fn finish<T, E, F>(conn: &mut Conn, outside: u32, command: F) -> Attempt<T, E>
where
    E: From<StoreError>,
    F: FnOnce(&mut Conn) -> Result<T, E>,
{
    let error = match catch_unwind(AssertUnwindSafe(|| command(conn))) {
        Ok(Ok(value)) => {
            return match conn.commit() {
                Ok(()) => Attempt {
                    result: Ok(value),
                    lost: false,
                },
                Err(error) => failed(StoreError::of_commit(error)),
            };
        }
        Ok(Err(error)) => error,
        Err(panic) => E::from(StoreError::Panicked { what: words(&*panic) }),
    };
    Attempt {
        result: Err(error),
        lost: conn.roll_back_to(outside).is_err(),
    }
}

fn failed<T, E: From<StoreError>>(error: StoreError) -> Attempt<T, E> {
    Attempt {
        result: Err(E::from(error)),
        lost: true,
    }
}

/// The message of a panic.
fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
