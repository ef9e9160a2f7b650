//! `host.*` and `retention.*`: their shapes, made from judged values. Never measures or prunes.

use std::time::Duration;

use super::values::Values;
use crate::domain::host::Limits;
use crate::domain::retention::Retention;

/// `host.*`
#[derive(Clone, Debug)]
pub struct Host {
    /// Kill switch.
    pub watch_enabled: bool,
    /// How often it looks.
    pub interval: Duration,
    /// How full a disk may be.
    pub limits: Limits,
}

/// `retention.*`
#[derive(Clone, Debug)]
pub struct Pruning {
    /// Kill switch of the daily sweep; who asks for one gets it in any case.
    pub enabled: bool,
    /// How long each sort of thing is kept.
    pub keep: Retention,
}

pub(super) fn host(v: &Values) -> Host {
    let limits = Limits {
        alert_percent: v.whole("host.disk_alert_percent"),
        stop_percent: v.whole("host.disk_stop_percent"),
    };
    if limits.alert_percent >= limits.stop_percent {
        let names = ["host.disk_alert_percent", "host.disk_stop_percent"];
        v.refuse_together(
            &names,
            "people must be told before claims stop: make the first the smaller one",
        );
    }
    Host {
        watch_enabled: v.switch("host.watch_enabled"),
        interval: v.seconds("host.interval_s"),
        limits,
    }
}

pub(super) fn pruning(v: &Values) -> Pruning {
    let days = |key| {
        let days: u64 = v.whole(key);
        (days > 0).then(|| Duration::from_secs(86_400 * days))
    };
    Pruning {
        enabled: v.switch("retention.enabled"),
        keep: Retention {
            jobs: days("retention.jobs_days"),
            logs: days("retention.logs_days"),
            wip: days("retention.wip_days"),
            outbox: days("retention.outbox_days"),
            inbox: days("retention.inbox_days"),
            healing: days("retention.healing_days"),
        },
    }
}
