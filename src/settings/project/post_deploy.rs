//! `[post_deploy]`: how production is watched after a deploy, and whether it is rolled back. Never looks at it.

use std::time::Duration;

use super::super::Settings;
use super::revision::{http_url, is_http_url};
use super::table::{At, Table};
use crate::domain::post_deploy::{Expect, Pattern, Plan};

/// How production is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostDeploy {
    /// The address that is looked at.
    pub url: String,
    /// What its answer has to be.
    pub expect: Expect,
    /// How often and for how long.
    pub plan: Plan,
    /// The version before is brought back where production degrades. Never for a self-hosting project.
    pub auto_rollback: bool,
}

impl PostDeploy {
    /// No look takes longer than this.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// How long an answer is waited for.
    pub fn timeout(&self) -> Duration {
        self.plan.interval().min(Self::PATIENCE)
    }
}

/// Looks in a window.
const PROBES: std::ops::RangeInclusive<i32> = 5..=500;
/// Least time between two looks.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);
/// A week is no time right after a deploy any more.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What the section needs to know of the rest of the file.
pub(super) struct Means {
    pub(super) self_hosting: bool,
    /// There is a hook that can roll back.
    pub(super) hook: bool,
}

/// Reads `[post_deploy]`; without it nobody watches.
pub(super) fn post_deploy(top: &Table<'_>, means: &Means, settings: &Settings) -> Option<PostDeploy> {
    let section = top.table("post_deploy")?;
    let url = url(&section, settings);
    let status = section.whole("expect_status", 100);
    if let Some(At { value, line }) = status.as_ref().filter(|at| at.value > 599) {
        section.note(
            *line,
            format!("post_deploy.expect_status = {value}: give an HTTP status"),
        );
    }
    let body = section.parsed("expect_body", |text| {
        Pattern::parse(text).map_err(|e| e.to_string())
    });
    let revision = section.switch("expect_revision");
    let plan = plan(&section);
    let auto_rollback = auto_rollback(&section, means, settings);
    section.finish();
    Some(PostDeploy {
        url: url?,
        expect: Expect {
            status: status.and_then(|at| u16::try_from(at.value).ok()).unwrap_or(200),
            body: body.map(|at| at.value),
            revision: revision.is_some_and(|at| at.value),
        },
        plan,
        auto_rollback,
    })
}

/// `url`, or `path` below the setting `post_deploy.base_url`.
fn url(section: &Table<'_>, settings: &Settings) -> Option<String> {
    let url = http_url(section, "url");
    let path = section.parsed("path", |text| match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err("begin it with a slash".to_owned()),
    });
    let (has_url, has_path) = (section.has("url"), section.has("path"));
    if has_url && has_path {
        section.note(
            section.line_of("path"),
            "post_deploy has url and path; keep one of them",
        );
        return None;
    }
    if has_url {
        return url.map(|at| at.value);
    }
    let Some(base) = &settings.post_deploy.base_url else {
        let line = section.line_of("path");
        let problem = match has_path {
            true => {
                "post_deploy.path needs the setting post_deploy.base_url, which is not set; set it, or give url"
            }
            false => {
                "post_deploy.url is missing: give the address to look at, or path and the setting post_deploy.base_url"
            }
        };
        section.note(line, problem);
        return None;
    };
    let path = match (path, has_path) {
        (Some(at), _) => at.value,
        (None, true) => return None,
        (None, false) => String::new(),
    };
    let whole = format!("{base}{path}");
    if !is_http_url(&whole) {
        let problem = "the setting post_deploy.base_url and the path make no http:// or https:// address without user and password";
        section.note(section.line_of("path"), problem);
        return None;
    }
    Some(whole)
}

fn plan(section: &Table<'_>) -> Plan {
    let probes = section.whole("probes", *PROBES.start());
    let window = section.seconds("window_s");
    let warm_up = section.whole("warm_up_s", 0);
    if let Some(At { value, line }) = probes.as_ref().filter(|at| at.value > *PROBES.end()) {
        section.note(
            *line,
            format!("post_deploy.probes = {value}: give at most {}", PROBES.end()),
        );
    }
    let seconds = |at: At<i32>| Duration::from_secs(u64::from(at.value.unsigned_abs()));
    let plan = Plan {
        probes: probes.and_then(|at| u16::try_from(at.value).ok()).unwrap_or(30),
        window: window.as_ref().map_or(Duration::from_secs(900), |at| at.value),
        warm_up: warm_up.map_or(Duration::from_secs(30), seconds),
    };
    if plan.interval() < LEAST_INTERVAL {
        section.note(
            section.line_of("window_s"),
            format!(
                "post_deploy: {} probes in {} s are too many; leave at least {} ms between two",
                plan.probes,
                plan.window.as_secs(),
                LEAST_INTERVAL.as_millis()
            ),
        );
    }
    for (key, time) in [("window_s", plan.window), ("warm_up_s", plan.warm_up)] {
        if time > LONGEST {
            let problem = format!("post_deploy.{key}: give at most {} s", LONGEST.as_secs());
            section.note(section.line_of(key), problem);
        }
    }
    plan
}

fn auto_rollback(section: &Table<'_>, means: &Means, settings: &Settings) -> bool {
    let written = section.switch("auto_rollback");
    if let Some(at) = written.as_ref().filter(|at| at.value) {
        if means.self_hosting {
            section.note(
                at.line,
                "post_deploy.auto_rollback = true, but self_hosting = true: a self-hosting project is never rolled back by itself; take it out",
            );
        }
        if !means.hook {
            section.note(
                at.line,
                "post_deploy.auto_rollback = true, but there is no hook that can roll back; set [deploy] hook",
            );
        }
    }
    let wanted = written.map_or(settings.post_deploy.auto_rollback, |at| at.value);
    wanted && means.hook && !means.self_hosting
}
