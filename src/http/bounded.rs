//! Numbers in an address that have bounds: refused outside of them, and described with them.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A number from `MIN` to `MAX`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded<const MIN: i64, const MAX: i64>(i64);

/// A row's number: a job, a run, an event.
pub type RowNumber = Bounded<1, { i64::MAX }>;
/// A place in something that begins at 0.
pub type Place = Bounded<0, { i64::MAX }>;

impl<const MAX: i64> Default for Bounded<0, MAX> {
    fn default() -> Self {
        Self(0)
    }
}

impl<const MIN: i64, const MAX: i64> Bounded<MIN, MAX> {
    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        if (MIN..=MAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(D::Error::custom(format!("{number} is not from {MIN} to {MAX}")))
        }
    }
}

impl<const MIN: i64, const MAX: i64> PartialSchema for Bounded<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer);
        let number = number.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
        let number = number.minimum(Some(MIN as isize)).maximum(Some(MAX as isize));
        number.into()
    }
}

impl<const MIN: i64, const MAX: i64> ToSchema for Bounded<MIN, MAX> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_outside_its_bounds_is_refused_with_them() {
        let read = |text| serde_json::from_str::<Bounded<1, 1000>>(text).map(Bounded::get);
        assert_eq!(read("1").ok(), Some(1));
        assert_eq!(read("1000").ok(), Some(1000));
        for bad in ["0", "1001", "-1", "1e3", "99999999999999999999", "null"] {
            assert!(read(bad).is_err(), "{bad} was accepted");
        }
        let said = read("0").err().map(|e| e.to_string());
        assert!(said.is_some_and(|s| s.contains("0 is not from 1 to 1000")));
    }
}
