//! What is being read and written at one moment, and what became of it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Load, SlugKey};

/// What is being read and written at this moment.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    pub(super) loads: HashMap<SlugKey, Load>,
    changes: HashMap<SlugKey, Changes>,
}

/// Changes of one slug that are under way.
#[derive(Debug, Default)]
struct Changes {
    count: usize,
    /// What happened beside them.
    beside: Beside,
}

/// What happened beside a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Beside {
    #[default]
    Nothing,
    /// There was another of the same slug at some time, here or elsewhere: the order in which they end
    /// need not be that of the database, but their versions tell.
    Another,
    /// Something that versions do not tell, as a workspace's deletion or choice.
    Anything,
}

impl UnderWay {
    pub(super) fn begin_change(&mut self, key: &SlugKey) {
        let changes = self.changes.entry(key.clone()).or_default();
        changes.count += 1;
        if changes.count > 1 {
            changes.saw(Beside::Another);
        }
    }

    /// Takes a change off the list, and all loads that began before its end.
    pub(super) fn end_change(&mut self, key: &SlugKey) -> Beside {
        self.loads.remove(key);
        let Some(changes) = self.changes.get_mut(key) else {
            return Beside::Nothing;
        };
        let beside = changes.beside;
        changes.count -= 1;
        if changes.count == 0 {
            self.changes.remove(key);
        }
        beside
    }

    /// Nothing that is being loaded or changed is what another node made of this slug.
    pub(super) fn forget(&mut self, key: &SlugKey) {
        self.loads.remove(key);
        if let Some(changes) = self.changes.get_mut(key) {
            changes.saw(Beside::Another);
        }
    }

    /// Nothing that is being loaded or changed is as it will be.
    pub(super) fn forget_all(&mut self) {
        self.loads.clear();
        for changes in self.changes.values_mut() {
            changes.saw(Beside::Anything);
        }
    }

    /// Takes a load off the list. Returns whether nothing was published since it began.
    pub(super) fn end_load(&mut self, key: &SlugKey, load: &Load) -> bool {
        let current = self
            .loads
            .get(key)
            .is_some_and(|other| Arc::ptr_eq(other, load));
        if current {
            self.loads.remove(key);
        }
        current
    }
}

impl Changes {
    fn saw(&mut self, beside: Beside) {
        self.beside = self.beside.max(beside);
    }
}
