//! Watches production after a deploy.

use crate::store::deploys::Deploy;

use super::super::{Engine, EngineError};
use super::Attempt;

pub(super) async fn baseline(_: &Engine, _: &Attempt, _: &Deploy) -> Result<(), EngineError> {
    Ok(())
}
