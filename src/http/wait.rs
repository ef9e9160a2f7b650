//! Long polling: answer when there is something, else when the engine says that something changed, else when the
//! time is up. Never looks again without a reason.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::bounded::Bounded;

/// Seconds that a client may wait. Not more: proxies cut silent connections soon after.
pub type Wait = Bounded<0, 30>;

/// What one look found.
pub enum Look<T> {
    /// Worth an answer.
    Something(T),
    /// Not worth one yet; the answer when the time is up.
    Nothing(T),
}

/// The time that a client wants to wait.
pub fn time(wait_s: Wait) -> Duration {
    Duration::from_secs(wait_s.get().unsigned_abs())
}

/// Looks, and looks again after each change, until there is something or `limit` has passed.
///
/// # Errors
/// The first error of a look.
pub async fn until<T, E>(
    mut changed: watch::Receiver<u64>,
    limit: Duration,
    look: impl AsyncFn() -> Result<Look<T>, E>,
) -> Result<T, E> {
    let deadline = Instant::now() + limit;
    loop {
        // Seen before looking: a change during the look wakes us again.
        changed.mark_unchanged();
        match look().await? {
            Look::Something(answer) => return Ok(answer),
            Look::Nothing(answer) => match timeout_at(deadline, changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(answer),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const LONGEST: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_change_during_the_look_is_not_missed() {
        let (sender, receiver) = watch::channel(0);
        let looks = Cell::new(0);
        let found: Result<_, ()> = until(receiver, LONGEST, async || {
            looks.set(looks.get() + 1);
            if looks.get() == 1 {
                sender.send_modify(|n| *n += 1);
                return Ok(Look::Nothing("nothing"));
            }
            Ok(Look::Something("something"))
        })
        .await;
        assert_eq!((found, looks.get()), (Ok("something"), 2));
    }

    #[tokio::test]
    async fn without_a_change_it_looks_once_and_answers_when_the_time_is_up() {
        let (_sender, receiver) = watch::channel(0);
        let looks = Cell::new(0);
        let found: Result<_, ()> = until(receiver, Duration::from_millis(20), async || {
            looks.set(looks.get() + 1);
            Ok(Look::Nothing(7))
        })
        .await;
        assert_eq!((found, looks.get()), (Ok(7), 1));
    }

    #[tokio::test]
    async fn an_engine_that_is_gone_ends_the_wait() {
        let (sender, receiver) = watch::channel(0);
        drop(sender);
        let found: Result<_, ()> = until(receiver, LONGEST, async || Ok(Look::Nothing(()))).await;
        assert_eq!(found, Ok(()));
    }
}
