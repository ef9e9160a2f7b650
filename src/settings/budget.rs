//! `budget.*`: what agents may cost. Never reads the prices.

use std::path::{Path, PathBuf};

use super::absolute;
use super::values::Values;
use crate::domain::budget::Limits;
use crate::domain::usage::PicoUsd;

/// `budget.*`
#[derive(Clone, Debug)]
pub struct Budget {
    /// Of every project that does not say otherwise.
    pub limits: Limits,
    /// What a run counts before it says anything, and where nobody knows what it cost. Micro-USD.
    pub reserve: i64,
    /// Prices laid over the built-in ones, absolute; none: only those.
    pub prices_file: Option<PathBuf>,
}

pub(super) fn budget(v: &Values, cwd: &Path) -> Budget {
    let usd = |name: &str| micro_usd(&v.required(name)).unwrap_or_default();
    Budget {
        limits: Limits {
            task: limit(usd("budget.task_usd")),
            project_day: limit(usd("budget.project_day_usd")),
        },
        reserve: usd("budget.reserve_usd"),
        prices_file: v.text("budget.prices_file").map(|p| absolute(cwd, Path::new(&p))),
    }
}

/// Micro-USD of a decimal number of USD.
pub(super) fn micro_usd(text: &str) -> Option<i64> {
    PicoUsd::from_decimal(text).map(PicoUsd::to_micro)
}

/// 0 is no limit.
pub(super) fn limit(micro_usd: i64) -> Option<i64> {
    (micro_usd > 0).then_some(micro_usd)
}
