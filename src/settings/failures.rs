//! `repair.*`, `retry.*` and `breaker.*`: what is done about failures. Never reads the rules.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::absolute;
use super::values::Values;
use crate::domain::repair::plan::Terms;
use crate::domain::retry::Limits;

/// `repair.*`
#[derive(Clone, Debug)]
pub struct Repair {
    /// Kill switch.
    pub enabled: bool,
    /// The rules, absolute; none: the built-in ones.
    pub rules_file: Option<PathBuf>,
    /// How often the file is looked at.
    pub reload: Duration,
    /// For how long a fix lasts.
    pub terms: Terms,
}

pub(super) fn repair(v: &Values, cwd: &Path) -> Repair {
    Repair {
        enabled: v.switch("repair.enabled"),
        rules_file: v.text("repair.rules_file").map(|p| absolute(cwd, Path::new(&p))),
        reload: v.seconds("repair.reload_s"),
        terms: Terms {
            node_off: v.seconds("repair.node_off_s"),
            node_cool: v.seconds("repair.node_cool_s"),
            cooldown: v.seconds("repair.cooldown_s"),
        },
    }
}

/// `retry.*` and `breaker.*`
pub(super) fn retry(v: &Values) -> Limits {
    Limits {
        consent: v.switch("retry.enabled"),
        scope: v.whole("retry.scope_limit"),
        task: v.whole("retry.task_limit"),
        failures: v.whole("breaker.failures"),
        half_open: v.seconds("breaker.half_open_s"),
    }
}
