//! Places for what lasts: so many at once in all, and so many for one workspace, so that nobody
//! takes those of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use terse_core::model::WorkspaceId;

/// Places of one kind.
#[derive(Debug)]
pub struct Places {
    in_all: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    by: HashMap<WorkspaceId, usize>,
}

/// There is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// The workspace has as many as it may have.
    #[error("the workspace has all places that it may have")]
    ForThisOne,
    /// Nobody gets one.
    #[error("all places are taken")]
    ForAnybody,
}

impl Places {
    /// `in_all` places, of which a workspace may have `each`.
    pub fn new(in_all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            in_all,
            each,
            taken: Mutex::default(),
        })
    }

    /// Takes one for `workspace`, until the place is dropped.
    pub fn take(self: &Arc<Self>, workspace: WorkspaceId) -> Result<Place, NoPlace> {
        let mut taken = self.lock();
        let own = taken.by.get(&workspace).copied().unwrap_or(0);
        if own >= self.each {
            return Err(NoPlace::ForThisOne);
        }
        if taken.in_all >= self.in_all {
            return Err(NoPlace::ForAnybody);
        }
        taken.in_all += 1;
        taken.by.insert(workspace, own + 1);
        drop(taken);
        Ok(Place {
            places: Arc::clone(self),
            workspace,
        })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.lock().in_all
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is taken.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    workspace: WorkspaceId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.in_all -= 1;
        let own = taken.by.get_mut(&self.workspace);
        let left = own.map_or(0, |own| {
            *own -= 1;
            *own
        });
        if left == 0 {
            taken.by.remove(&self.workspace);
        }
    }
}

#[cfg(test)]
mod tests {
    use terse_core::model::SeededEntropy;

    use super::*;

    #[test]
    fn places_are_bounded_for_each_and_for_all_and_come_back() {
        let entropy = SeededEntropy::new(1);
        let [one, two, three] = [(); 3].map(|()| WorkspaceId::random(&entropy));
        let places = Places::new(3, 2);
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert_eq!(places.take(one).unwrap_err(), NoPlace::ForThisOne);
        let third = places.take(two).unwrap();
        assert_eq!(places.take(three).unwrap_err(), NoPlace::ForAnybody);
        assert_eq!(places.taken(), 3);
        drop((first, third));
        assert_eq!(places.taken(), 1);
        assert_eq!(places.lock().by.len(), 1);
        places.take(three).unwrap();
    }
}
