//! Seats for what lasts: so many at once in all, and so many for one workspace, so that nobody
//! takes those of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use terse_core::model::WorkspaceId;

/// Seats of one kind.
#[derive(Debug)]
pub struct Seats {
    in_all: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    by: HashMap<WorkspaceId, usize>,
}

/// There is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSeat {
    /// The workspace has as many as it may have.
    #[error("the workspace has all seats that it may have")]
    ForThisOne,
    /// Nobody gets one.
    #[error("all seats are taken")]
    ForAnybody,
}

impl Seats {
    /// `in_all` seats, of which a workspace may have `each`.
    pub fn new(in_all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            in_all,
            each,
            taken: Mutex::default(),
        })
    }

    /// Takes one for `workspace`, until the seat is dropped.
    pub fn take(self: &Arc<Self>, workspace: WorkspaceId) -> Result<Seat, NoSeat> {
        let mut taken = self.lock();
        let own = taken.by.get(&workspace).copied().unwrap_or(0);
        if own >= self.each {
            return Err(NoSeat::ForThisOne);
        }
        if taken.in_all >= self.in_all {
            return Err(NoSeat::ForAnybody);
        }
        taken.in_all += 1;
        taken.by.insert(workspace, own + 1);
        drop(taken);
        Ok(Seat {
            seats: Arc::clone(self),
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

/// A seat that is taken.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    workspace: WorkspaceId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
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
    fn seats_are_bounded_for_each_and_for_all_and_come_back() {
        let entropy = SeededEntropy::new(1);
        let [one, two, three] = [(); 3].map(|()| WorkspaceId::random(&entropy));
        let seats = Seats::new(3, 2);
        let first = seats.take(one).unwrap();
        let _second = seats.take(one).unwrap();
        assert_eq!(seats.take(one).unwrap_err(), NoSeat::ForThisOne);
        let third = seats.take(two).unwrap();
        assert_eq!(seats.take(three).unwrap_err(), NoSeat::ForAnybody);
        assert_eq!(seats.taken(), 3);
        drop((first, third));
        assert_eq!(seats.taken(), 1);
        assert_eq!(seats.lock().by.len(), 1);
        seats.take(three).unwrap();
    }
}
