//! How long a visitor is one and the same.

/// How long one visitor keeps one hash.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::Type, serde::Serialize, serde::Deserialize,
)]
#[sqlx(type_name = "TEXT", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum VisitorEpoch {
    /// A calendar month in UTC: visitors over several months are the sum of months.
    #[default]
    Month,
    /// A calendar day in UTC: visitors over several days are the sum of days.
    Day,
}

impl VisitorEpoch {
    pub const ALL: [Self; 2] = [Self::Month, Self::Day];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Day => "day",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|epoch| epoch.as_str() == name)
    }
}
