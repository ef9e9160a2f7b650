//! Keeps one unit that breaks from the loop that came to it. Never tries again, never hides: what broke is an error of that
//! unit alone, told like every other.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use super::EngineError;

/// Does something about one of many: a panic is its error, and no other's.
///
/// # Errors
/// Its own; `Broken` where it panicked.
pub(super) fn contained<T>(
    step: impl Future<Output = Result<T, EngineError>>,
) -> impl Future<Output = Result<T, EngineError>> {
    // Boxed before anybody waits: whoever loops over many holds no more than this.
    let step = AssertUnwindSafe(Box::pin(step)).catch_unwind();
    async move {
        step.await.unwrap_or_else(|panic| {
            let what = format!("it panicked ({}); the log says where", said(panic.as_ref()));
            Err(EngineError::Broken(what))
        })
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    let said = owned.or_else(|| panic.downcast_ref::<&str>().copied());
    said.unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::panic, reason = "it is what is tested")]

    use super::*;

    async fn breaks(step: impl Future<Output = Result<i32, EngineError>>) -> String {
        match contained(step).await {
            Err(EngineError::Broken(what)) => what,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_panics_is_an_error_that_says_its_words() {
        let number = 7;
        let formatted = breaks(async move { panic!("at {number}") }).await;
        assert_eq!(formatted, "it panicked (at 7); the log says where");
        assert!(breaks(async { panic!("plain") }).await.contains("(plain)"));
        let after_a_wait = breaks(async {
            tokio::task::yield_now().await;
            std::panic::panic_any(7)
        });
        assert!(after_a_wait.await.contains("without a word"));
    }

    #[tokio::test]
    async fn what_does_not_panic_is_handed_on() {
        assert_eq!(contained(async { Ok(7) }).await.ok(), Some(7));
        let lost = contained::<i32>(async { Err(EngineError::Lost) }).await;
        assert!(matches!(lost, Err(EngineError::Lost)), "{lost:?}");
    }
}
