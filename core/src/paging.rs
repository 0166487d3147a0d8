//! Pages of lists that are ordered by time and identifier.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::{FieldError, Id, Page, Timestamp};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 200;

/// How many items a page has: 1 to 200, 50 when nothing is asked for.
pub(crate) fn limit(asked: Option<i64>) -> Result<usize, FieldError> {
    let limit = asked.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) {
        Ok(usize::try_from(limit).unwrap_or(1))
    } else {
        Err(FieldError::new(
            "limit",
            "limit_out_of_range",
            "must be from 1 to 200",
        ))
    }
}

/// Rows to read for a page of `limit`: one more shows whether another page follows.
pub(crate) fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(MAX_LIMIT) + 1
}

/// The page that these rows make, read with [`one_more`].
pub(crate) fn page<R, T>(
    mut rows: Vec<R>,
    limit: usize,
    shown: impl Fn(R) -> T,
    cursor: impl Fn(&R) -> String,
) -> Page<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(cursor);
    Page {
        items: rows.into_iter().map(shown).collect(),
        next_cursor,
    }
}

/// The place behind an item, as clients carry it.
pub(crate) fn cursor<T>(at: Timestamp, id: Id<T>) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{id}", at.as_millis()))
}

/// Reads a [`cursor`].
pub(crate) fn read_cursor<T>(text: &str) -> Result<(Timestamp, Id<T>), FieldError> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (at, id) = text.split_once(':')?;
        let at = Timestamp::from_millis(at.parse().ok()?);
        Some((at, id.parse().ok()?))
    };
    read().ok_or_else(cursor_invalid)
}

/// The text is no cursor of this list.
pub(crate) fn cursor_invalid() -> FieldError {
    FieldError::new(
        "cursor",
        "cursor_invalid",
        "must be the next_cursor of the same list",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::UserId;

    proptest! {
        #[test]
        fn a_cursor_is_read_back(at in 0..4_000_000_000_000_i64, number in 0..i64::MAX) {
            let place = (Timestamp::from_millis(at), UserId::from_number(number));
            prop_assert_eq!(read_cursor(&cursor(place.0, place.1)), Ok(place));
        }

        #[test]
        fn no_text_makes_reading_a_cursor_panic(text in ".{0,60}") {
            let _ = read_cursor::<crate::model::kinds::User>(&text);
        }
    }
}
