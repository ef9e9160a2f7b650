//! Fail points: moments at which a test lets the process die, right before a commit or a deed and right after it. Every
//! commit and every call of git is one by itself, other deeds are declared with `deed!`. Compiled out unless the feature
//! `failpoints` is on, as it is for the tests alone. Never decides anything.
//!
//! With the feature, `FAILPOINT_ABORT` names the point at which the process aborts, and how many times it was reached by
//! then: `commit engine::queue::claim:before 2`. `FAILPOINT_TRACE` names a file that is told each point that is reached.

/// Which side of what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It is not done yet.
    Before,
    /// It is done, and nobody was told.
    After,
}

/// Tells that a point is reached.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reached(_kind: &str, _name: &str, _side: Side) {}

/// Tells that a point is reached; does not return where it was asked to die there.
#[cfg(feature = "failpoints")]
pub fn reached(kind: &str, name: &str, side: Side) {
    armed::reached(kind, name, side);
}

/// Does something that leaves the process, between its two fail points.
macro_rules! deed {
    ($name:literal, $deed:expr) => {
        deed!("deed", $name, $deed)
    };
    ($kind:literal, $name:expr, $deed:expr) => {{
        $crate::failpoint::reached($kind, $name, $crate::failpoint::Side::Before);
        let done = $deed;
        $crate::failpoint::reached($kind, $name, $crate::failpoint::Side::After);
        done
    }};
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Side;

    struct Target {
        point: String,
        /// How often it may still be reached.
        left: AtomicU32,
    }

    static TARGET: LazyLock<Option<Target>> = LazyLock::new(|| {
        let text = std::env::var("FAILPOINT_ABORT").ok()?;
        let (point, nth) = text.rsplit_once(' ')?;
        Some(Target {
            point: point.to_owned(),
            left: AtomicU32::new(nth.parse().ok()?),
        })
    });
    static TRACE: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("FAILPOINT_TRACE").map(PathBuf::from));

    pub(super) fn reached(kind: &str, name: &str, side: Side) {
        if TARGET.is_none() && TRACE.is_none() {
            return;
        }
        // A commit is named by the function that asks for it, as the compiler calls its closure.
        let name = name.trim_start_matches("orch::").replace("::{{closure}}", "");
        let side = match side {
            Side::Before => "before",
            Side::After => "after",
        };
        let point = format!("{kind} {name}:{side}");
        if let Some(path) = &*TRACE {
            let file = OpenOptions::new().append(true).create(true).open(path);
            // One write, so that threads do not mix their lines.
            let told = file.and_then(|mut file| file.write_all(format!("{point}\n").as_bytes()));
            drop(told);
        }
        if let Some(target) = TARGET.as_ref().filter(|target| target.point == point)
            && target.left.fetch_sub(1, Ordering::AcqRel) == 1
        {
            std::process::abort();
        }
    }
}
