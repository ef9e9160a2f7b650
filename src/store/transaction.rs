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
    let failed = |error: StoreError| Attempt {
        result: Err(E::from(error)),
        lost: true,
    };
    let Some(outside) = conn.depth() else {
        return failed(StoreError::Closed);
    };
    if let Err(error) = conn.begin() {
        return failed(error.into());
    }
    let error = match catch_unwind(AssertUnwindSafe(|| command(conn))) {
        Ok(Ok(value)) => {
            return match conn.commit() {
                Ok(()) => Attempt {
                    result: Ok(value),
                    lost: false,
                },
                Err(error) => failed(error.into()),
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

/// The message of a panic.
fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
