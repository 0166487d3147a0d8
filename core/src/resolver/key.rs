//! What a destination is found by.

use std::hash::{Hash, Hasher};

use equivalent::Equivalent;

use crate::model::DomainId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlugKey {
    pub(super) domain: DomainId,
    pub(super) folded: Box<str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SlugRef<'a> {
    pub(super) domain: DomainId,
    pub(super) folded: &'a str,
}

impl SlugKey {
    pub(super) fn borrowed(&self) -> SlugRef<'_> {
        SlugRef {
            domain: self.domain,
            folded: &self.folded,
        }
    }
}

impl Hash for SlugRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.domain.hash(state);
        self.folded.hash(state);
    }
}

impl Hash for SlugKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl Equivalent<SlugKey> for SlugRef<'_> {
    fn equivalent(&self, key: &SlugKey) -> bool {
        *self == key.borrowed()
    }
}
