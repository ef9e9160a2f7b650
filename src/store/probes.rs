//! Looks at production around a deploy, one row for each slot: negative before it, from 0 on after it. Never looks.

use diesel::prelude::*;

use super::{Conn, StoreError};
use crate::domain::deploy::DeployId;
use crate::domain::post_deploy::Probe;
use crate::domain::time::Timestamp;
use crate::schema::probes;

/// A look that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Negative: before the deploy.
    pub slot: i32,
    /// When it was made; one that is missing, when that was noticed.
    pub at: Timestamp,
    /// What came of it.
    pub probe: Probe,
}

/// Keeps a look; the first one of a slot stays.
///
/// # Errors
/// See [`StoreError`].
pub fn keep(conn: &mut Conn, deploy: DeployId, kept: &Kept) -> Result<(), StoreError> {
    let (ok, detail) = match &kept.probe {
        Probe::Good => (Some(true), None),
        Probe::Failed(why) => (Some(false), Some(why.as_str())),
        Probe::Missing => (None, None),
    };
    on!(conn, c => diesel::insert_into(probes::table)
        .values((
            probes::deploy_id.eq(deploy.0),
            probes::slot.eq(kept.slot),
            probes::at.eq(kept.at.0),
            probes::ok.eq(ok),
            probes::detail.eq(detail),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(())
}

/// All looks around a deploy, in the order of their slots.
///
/// # Errors
/// See [`StoreError`].
pub fn of_deploy(conn: &mut Conn, deploy: DeployId) -> Result<Vec<Kept>, StoreError> {
    type Found = (i32, i64, Option<bool>, Option<String>);
    let found: Vec<Found> = on!(conn, c => probes::table
        .filter(probes::deploy_id.eq(deploy.0))
        .order(probes::slot)
        .select((probes::slot, probes::at, probes::ok, probes::detail))
        .load(c))?;
    let kept = |(slot, at, ok, detail): Found| Kept {
        slot,
        at: Timestamp(at),
        probe: match ok {
            Some(true) => Probe::Good,
            Some(false) => Probe::Failed(detail.unwrap_or_default()),
            None => Probe::Missing,
        },
    };
    Ok(found.into_iter().map(kept).collect())
}
