//! Reading query parameters and texts of bodies, so that one answer names all that is refused.

use poem_openapi::types::MaybeUndefined;
use terse_core::model::{Change, FieldError, Timestamp};

use crate::api::schema::Optional;

/// An RFC 3339 time.
pub(crate) fn time(
    field: &'static str,
    text: Option<String>,
    refused: &mut Vec<FieldError>,
) -> Option<Timestamp> {
    Timestamp::parse(field, &text?)
        .map_err(|error| refused.push(error))
        .ok()
}

/// A whole number.
pub(crate) fn number(
    field: &'static str,
    text: Option<String>,
    refused: &mut Vec<FieldError>,
) -> Option<i64> {
    let parsed = text?.parse();
    parsed
        .map_err(|_| {
            refused.push(FieldError::new(
                field,
                "number_invalid",
                "must be a whole number",
            ));
        })
        .ok()
}

/// What a member of a body that may be absent or `null` does to its field.
pub(crate) fn change<T>(value: Optional<T>) -> Change<T> {
    match value.0 {
        MaybeUndefined::Undefined => Change::Keep,
        MaybeUndefined::Null => Change::Clear,
        MaybeUndefined::Value(value) => Change::Set(value),
    }
}
