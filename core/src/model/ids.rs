//! Identifiers: random 63-bit numbers inside, opaque text outside.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use crate::model::{Entropy, random_bytes};

/// The identifier of a `T`. Its text form is 13 letters and digits and promises nothing more.
pub struct Id<T> {
    number: i64,
    of: PhantomData<fn() -> T>,
}

/// What an [`Id`] can point at.
pub mod kinds {
    /// Marks the identifier of a link.
    #[derive(Debug)]
    pub enum Link {}
    /// Marks the identifier of a workspace.
    #[derive(Debug)]
    pub enum Workspace {}
    /// Marks the identifier of a user.
    #[derive(Debug)]
    pub enum User {}
    /// Marks the identifier of a session.
    #[derive(Debug)]
    pub enum Session {}
    /// Marks the identifier of a domain.
    #[derive(Debug)]
    pub enum Domain {}
    /// Marks the identifier of an API key.
    #[derive(Debug)]
    pub enum ApiKey {}
    /// Marks the identifier of an invitation.
    #[derive(Debug)]
    pub enum Invitation {}
    /// Marks the identifier of an account that waits to be verified.
    #[derive(Debug)]
    pub enum Registration {}
    /// Marks the identifier of a job.
    #[derive(Debug)]
    pub enum Job {}
}

/// A link's identifier.
pub type LinkId = Id<kinds::Link>;
/// A workspace's identifier.
pub type WorkspaceId = Id<kinds::Workspace>;
/// A user's identifier.
pub type UserId = Id<kinds::User>;
/// A session's identifier.
pub type SessionId = Id<kinds::Session>;
/// A domain's identifier.
pub type DomainId = Id<kinds::Domain>;
/// An API key's identifier.
pub type ApiKeyId = Id<kinds::ApiKey>;
/// An invitation's identifier.
pub type InvitationId = Id<kinds::Invitation>;
/// The identifier of an account that waits to be verified.
pub type RegistrationId = Id<kinds::Registration>;
/// A job's identifier.
pub type JobId = Id<kinds::Job>;

// Crockford's base32 in lower case: no i, l, o, u.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_LEN: usize = 13;

impl<T> Id<T> {
    /// A fresh identifier.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self::from_number(i64::from_le_bytes(random_bytes(entropy)) & i64::MAX)
    }

    pub(crate) const fn from_number(number: i64) -> Self {
        Self {
            number,
            of: PhantomData,
        }
    }

    pub(crate) const fn number(self) -> i64 {
        self.number
    }
}

/// The text is no identifier; treat it like an unknown one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier")]
pub struct MalformedId;

impl<T> FromStr for Id<T> {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        if text.len() != TEXT_LEN {
            return Err(MalformedId);
        }
        let mut number: i64 = 0;
        for byte in text.bytes() {
            let digit = DIGITS
                .iter()
                .position(|&d| d == byte)
                .and_then(|p| i64::try_from(p).ok())
                .ok_or(MalformedId)?;
            number = number
                .checked_mul(32)
                .and_then(|n| n.checked_add(digit))
                .ok_or(MalformedId)?;
        }
        Ok(Self::from_number(number))
    }
}

impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'0'; TEXT_LEN];
        let mut rest = self.number.unsigned_abs();
        for slot in text.iter_mut().rev() {
            *slot = DIGITS[usize::try_from(rest % 32).unwrap_or(0)];
            rest /= 32;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.number.cmp(&other.number)
    }
}
impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl<T> serde::Serialize for Id<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T> serde::Deserialize<'de> for Id<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<DB: sqlx::Database, T> sqlx::Type<DB> for Id<T>
where
    i64: sqlx::Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <i64 as sqlx::Type<DB>>::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        <i64 as sqlx::Type<DB>>::compatible(ty)
    }
}

impl<'q, DB: sqlx::Database, T> sqlx::Encode<'q, DB> for Id<T>
where
    i64: sqlx::Encode<'q, DB>,
{
    fn encode_by_ref(
        &self,
        buf: &mut DB::ArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        self.number.encode_by_ref(buf)
    }
}

impl<'r, DB: sqlx::Database, T> sqlx::Decode<'r, DB> for Id<T>
where
    i64: sqlx::Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        Ok(Self::from_number(<i64 as sqlx::Decode<'r, DB>>::decode(
            value,
        )?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_survives_its_text_form(number in 0..=i64::MAX) {
            let id = LinkId::from_number(number);
            prop_assert_eq!(id.to_string().parse::<LinkId>(), Ok(id));
        }

        #[test]
        fn no_text_makes_an_id_panic(text in ".{0,40}") {
            let _ = text.parse::<LinkId>();
        }
    }
}
