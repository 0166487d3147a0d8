//! What the resolvers of several nodes tell each other by Redis.

use std::sync::Arc;
use std::time::Duration;

use super::{ABSENT_FOR, Destination, FRESH_FOR, Load, Resolver, SlugKey};
use crate::model::{DomainId, WorkspaceId};
use crate::shared::{Copy, Known, News, Ticket};

/// What Redis has of a slug.
pub(super) enum Shelf {
    /// A destination or, for an unknown slug, none, and for how long it was there.
    Has((Option<Destination>, Duration)),
    /// Nothing that can be used. What is loaded may be kept there, if there is a ticket.
    Lacks(Option<Ticket>),
}

impl Resolver {
    /// Waits for Redis for a few milliseconds, and not at all while it is away.
    pub(super) async fn look_up_shared(&self, key: &SlugKey) -> Shelf {
        let Some(shared) = &self.shared else {
            return Shelf::Lacks(None);
        };
        match shared.look_up(key.domain, &key.folded).await {
            Known::Entry(text, left) => {
                let age = FRESH_FOR.saturating_sub(left);
                let loaded_at = self.clock.now().minus(age);
                match Destination::from_kept(&text, loaded_at) {
                    Some(destination) => Shelf::Has((Some(destination), age)),
                    None => Shelf::Lacks(None),
                }
            }
            Known::Absent(left) => Shelf::Has((None, ABSENT_FOR.saturating_sub(left))),
            Known::Nothing(ticket) => Shelf::Lacks(Some(ticket)),
            Known::Away => Shelf::Lacks(None),
        }
    }

    /// Keeps what Redis had, unless a change was published or heard of meanwhile.
    pub(super) fn finish_shared(
        &self,
        key: &SlugKey,
        load: &Load,
        (found, age): (Option<Destination>, Duration),
    ) -> Option<Arc<Destination>> {
        let found = found.map(Arc::new);
        let mut under_way = self.under_way();
        if under_way.end_load(key, load) {
            match &found {
                Some(destination) => self.keep(key, destination),
                None => self.absent.insert(key.clone(), self.clock.now().minus(age)),
            }
        }
        found
    }

    /// Lets other nodes have what was loaded.
    pub(super) fn offer(&self, key: &SlugKey, ticket: Ticket, found: Option<&Destination>) {
        let Some(shared) = &self.shared else { return };
        let copy = match found {
            Some(destination) => copy_of(key, destination),
            None => Copy {
                domain: key.domain,
                slug: key.folded.clone(),
                version: 0,
                text: None,
                keep_for: ABSENT_FOR,
            },
        };
        shared.offer(ticket, copy);
    }

    /// Tells other nodes what a change made, or that nobody knows.
    pub(super) fn announce(&self, key: &SlugKey, made: Option<&Destination>) {
        let Some(shared) = &self.shared else { return };
        match made {
            Some(destination) => shared.changed(copy_of(key, destination)),
            None => shared.perhaps_changed(key.domain, key.folded.clone()),
        }
    }

    pub(super) fn announce_workspace(&self, workspace: WorkspaceId) {
        if let Some(shared) = &self.shared {
            shared.renewed(News::Workspace(workspace));
        }
    }

    /// Does what another node's news ask for.
    pub(crate) fn hear(&self, news: News) {
        match news {
            News::Anything => self.doubt_everything(),
            News::Link {
                domain,
                slug,
                version,
                text,
            } => self.heard_of(domain, slug, version, text.as_deref()),
            News::PerhapsLink { domain, slug } => self.doubt(domain, slug),
            News::Workspace(workspace) => self.forget_workspace_here(workspace),
            News::Authorization => {}
        }
    }

    /// Another node changed a link: what it made comes into force here, unless something newer is.
    fn heard_of(&self, domain: DomainId, folded: Box<str>, version: i64, text: Option<&str>) {
        let key = SlugKey { domain, folded };
        let mut under_way = self.under_way();
        under_way.forget(&key);
        self.absent.invalidate(&key.borrowed());
        let older = self.present.get(&key.borrowed());
        if older.is_none_or(|held| held.version >= version) {
            return;
        }
        let now = self.clock.now();
        match text.and_then(|text| Destination::from_kept(text, now)) {
            Some(destination) => self.keep(&key, &Arc::new(destination)),
            None => self.present.invalidate(&key.borrowed()),
        }
    }

    /// Another node may have changed a link: the database is asked, and until it answers the link leads
    /// where it led.
    fn doubt(&self, domain: DomainId, folded: Box<str>) {
        let key = SlugKey { domain, folded };
        let mut under_way = self.under_way();
        under_way.forget(&key);
        self.absent.invalidate(&key.borrowed());
        if let Some(held) = self.present.get(&key.borrowed()) {
            held.doubt();
        }
    }

    /// News were missed: nothing in memory counts as fresh any more.
    fn doubt_everything(&self) {
        self.under_way().forget_all();
        self.absent.invalidate_all();
        for (_, held) in &self.present {
            held.doubt();
        }
    }
}

fn copy_of(key: &SlugKey, destination: &Destination) -> Copy {
    Copy {
        domain: key.domain,
        slug: key.folded.clone(),
        version: destination.version,
        text: destination.kept(),
        keep_for: FRESH_FOR,
    }
}
