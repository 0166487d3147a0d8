//! A click as the spool carries it.
//!
//! Payload of record version 1, little endian: link (8 bytes), workspace (8), unix milliseconds
//! (8), visitor hash (8), kind (1), reason (1), then the facts as `classify::facts` writes them.
//! The facts go into the database as they are.

use crate::model::{LinkId, Timestamp, WorkspaceId};

/// The spool's record version that this release writes.
pub(crate) const RECORD_VERSION: u8 = 1;
const HEAD_BYTES: usize = 34;

/// What is known of every click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClickHead {
    pub(crate) link: LinkId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) at: Timestamp,
    pub(crate) visitor: u64,
    pub(crate) kind: u8,
    pub(crate) reason: u8,
}

/// The record is no click that this release understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is not a click of a known version")]
pub(crate) struct NotAClick;

impl ClickHead {
    /// Appends the head to `payload`; the facts follow.
    pub(crate) fn encode(&self, payload: &mut Vec<u8>) {
        payload.extend_from_slice(&self.link.number().to_le_bytes());
        payload.extend_from_slice(&self.workspace.number().to_le_bytes());
        payload.extend_from_slice(&self.at.as_millis().to_le_bytes());
        payload.extend_from_slice(&self.visitor.to_le_bytes());
        payload.push(self.kind);
        payload.push(self.reason);
    }

    /// The head and the facts of a record.
    pub(crate) fn decode(version: u8, payload: &[u8]) -> Result<(Self, &[u8]), NotAClick> {
        if version != RECORD_VERSION {
            return Err(NotAClick);
        }
        let (head, facts) = payload.split_at_checked(HEAD_BYTES).ok_or(NotAClick)?;
        let word = |index: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[index * 8..index * 8 + 8]);
            bytes
        };
        let kind = head[32];
        if kind > 2 {
            return Err(NotAClick);
        }
        Ok((
            Self {
                link: LinkId::from_number(i64::from_le_bytes(word(0))),
                workspace: WorkspaceId::from_number(i64::from_le_bytes(word(1))),
                at: Timestamp::from_millis(i64::from_le_bytes(word(2))),
                visitor: u64::from_le_bytes(word(3)),
                kind,
                reason: head[33],
            },
            facts,
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_click_survives_its_record(link in 0..i64::MAX, at in 0..4_000_000_000_000_i64, visitor: u64, kind in 0..3_u8, reason: u8, facts: Vec<u8>) {
            let head = ClickHead {
                link: LinkId::from_number(link),
                workspace: WorkspaceId::from_number(7),
                at: Timestamp::from_millis(at),
                visitor,
                kind,
                reason,
            };
            let mut payload = Vec::new();
            head.encode(&mut payload);
            payload.extend_from_slice(&facts);
            prop_assert_eq!(ClickHead::decode(RECORD_VERSION, &payload), Ok((head, facts.as_slice())));
        }

        #[test]
        fn no_record_makes_decoding_panic(version: u8, payload: Vec<u8>) {
            let _ = ClickHead::decode(version, &payload);
        }
    }
}
