//! Why a value that somebody sent is refused.

use std::borrow::Cow;

/// One refused field: which, a stable code for programs, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// The field's name as in the API.
    pub field: &'static str,
    /// Stable, `snake_case`, made for `match`.
    pub code: &'static str,
    /// Short, concrete and kind; never echoes the value.
    pub message: Cow<'static, str>,
}

impl FieldError {
    /// A refusal of `field`.
    pub fn new(
        field: &'static str,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            field,
            code,
            message: message.into(),
        }
    }
}
