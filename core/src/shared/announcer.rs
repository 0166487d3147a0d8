//! Telling Redis and the other nodes, in the background and in the order of the changes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_redis::redis::{Pipeline, cmd, pipe};
use tokio::sync::{mpsc, oneshot};

use super::scripts::{self, Keeping};
use super::{BARRIER, Copy, News, PROBE_EVERY, Shared, Ticket};

/// What waits at most; what comes beyond is made good by forgetting everything.
const WAITING: usize = 4_096;
/// Sent together: a thousand links that change at once are told of in a few round trips.
const TOGETHER: usize = 128;
/// Nobody waits for these: a slow moment of Redis is no reason to do without it.
const PATIENCE: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) enum Announcement {
    Loaded(Ticket, Copy),
    Changed(Copy),
    Renewed(News),
    Told(News),
    Finish(oneshot::Sender<()>),
}

/// Where announcements are left.
#[derive(Debug)]
pub(super) struct Announcements {
    waiting: mpsc::Sender<Announcement>,
    /// A change was not told of: entries in Redis may be old.
    missed: AtomicBool,
    /// Changes that Redis has not been told of yet; one for all that were missed.
    untold: AtomicUsize,
}

/// Who makes them.
#[derive(Debug)]
pub(crate) struct Announcer {
    waiting: mpsc::Receiver<Announcement>,
}

pub(super) fn pair() -> (Announcements, Announcer) {
    let (sender, waiting) = mpsc::channel(WAITING);
    let announcements = Announcements {
        waiting: sender,
        missed: AtomicBool::new(false),
        untold: AtomicUsize::new(0),
    };
    (announcements, Announcer { waiting })
}

impl Announcements {
    /// Something that can as well be left out. Half the room is for changes: whoever asks for many
    /// unknown slugs must not take it from them.
    pub(super) fn offer(&self, announcement: Announcement) {
        if self.waiting.capacity() > WAITING / 2 {
            let _ = self.waiting.try_send(announcement);
        }
    }

    /// Something that others must hear of, if not now, then once Redis answers again.
    pub(super) fn change(&self, announcement: Announcement) {
        self.untold.fetch_add(1, Ordering::AcqRel);
        if self.waiting.try_send(announcement).is_err() {
            self.miss();
            self.told(1);
        }
    }

    pub(super) fn miss(&self) {
        self.untold.fetch_add(1, Ordering::AcqRel);
        if self.missed.swap(true, Ordering::AcqRel) {
            self.told(1);
        }
    }

    fn has_missed(&self) -> bool {
        self.missed.load(Ordering::Acquire)
    }

    /// Whether a change was missed; it counts as untold until whoever asks has told of it.
    pub(super) fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::AcqRel)
    }

    /// So many are told of, or noted as missed.
    pub(super) fn told(&self, changes: usize) {
        self.untold.fetch_sub(changes, Ordering::AcqRel);
    }

    /// Whether Redis may still say what this node knows to be old.
    pub(super) fn is_behind(&self) -> bool {
        self.untold.load(Ordering::Acquire) > 0
    }

    /// Completes once everything left before is told, or given up.
    pub(super) async fn finish(&self) {
        let (told, all) = oneshot::channel();
        if self.waiting.send(Announcement::Finish(told)).await.is_ok() {
            let _ = all.await;
        }
    }
}

impl Announcer {
    pub(super) async fn run(mut self, shared: &Shared) {
        let mut batch = Vec::with_capacity(TOGETHER);
        loop {
            let received = self.waiting.recv_many(&mut batch, TOGETHER);
            if shared.announcements.has_missed() {
                // What failed is tried again, also when nothing else happens.
                let _ = tokio::time::timeout(PROBE_EVERY, received).await;
            } else if received.await == 0 {
                return;
            }
            shared.announce(&batch).await;
            for announcement in batch.drain(..) {
                if let Announcement::Finish(told) = announcement {
                    let _ = told.send(());
                }
            }
        }
    }
}

impl Shared {
    async fn announce(&self, batch: &[Announcement]) {
        let mut commands = pipe();
        let missed = self.redis.breaker.is_closed() && self.announcements.take_missed();
        if missed {
            self.renew(&mut commands, &News::Anything);
        }
        for announcement in batch {
            match announcement {
                Announcement::Loaded(ticket, copy) => self.keep(&mut commands, ticket, copy),
                Announcement::Changed(copy) => self.change(&mut commands, copy),
                Announcement::Renewed(news) => self.renew(&mut commands, news),
                Announcement::Told(news) => self.publish(&mut commands, news),
                Announcement::Finish(_) => {}
            }
        }
        if commands.is_empty() {
            return;
        }
        let told = self.redis.ask::<()>(PATIENCE, &commands).await;
        let is_change = |announcement: &&Announcement| {
            matches!(
                announcement,
                Announcement::Changed(_) | Announcement::Renewed(_)
            )
        };
        let changes = batch.iter().filter(is_change).count() + usize::from(missed);
        if told.is_err() && changes > 0 {
            self.announcements.miss();
        }
        self.announcements.told(changes);
    }

    fn keep(&self, commands: &mut Pipeline, ticket: &Ticket, copy: &Copy) {
        let entry = self.names.entry(copy.domain, &copy.slug);
        commands.add_command(self.keeping(&entry, &ticket.generation, copy).offer());
    }

    fn change(&self, commands: &mut Pipeline, copy: &Copy) {
        let news = if copy.version == BARRIER {
            News::PerhapsLink {
                domain: copy.domain,
                slug: copy.slug.clone(),
            }
        } else {
            News::Link {
                domain: copy.domain,
                slug: copy.slug.clone(),
                version: copy.version,
                text: copy.text.clone(),
            }
        };
        let entry = self.names.entry(copy.domain, &copy.slug);
        let (fresh, message) = (self.fresh(), news.message(self.node));
        let keeping = self.keeping(&entry, &fresh, copy);
        commands.add_command(keeping.change(&self.names.channel, &message));
    }

    fn keeping<'a>(&'a self, entry: &'a str, generation: &'a str, copy: &'a Copy) -> Keeping<'a> {
        Keeping {
            entry,
            generations: &self.names.generations,
            generation,
            version: copy.version,
            text: copy.text.as_deref().unwrap_or_default(),
            millis: u64::try_from(copy.keep_for.as_millis()).unwrap_or(0).max(1),
        }
    }

    pub(super) fn renew(&self, commands: &mut Pipeline, news: &News) {
        commands.add_command(scripts::renew(
            &self.names.generations,
            &self.fresh(),
            &self.names.channel,
            &news.message(self.node),
        ));
    }

    fn publish(&self, commands: &mut Pipeline, news: &News) {
        let mut publish = cmd("PUBLISH");
        publish
            .arg(&self.names.channel)
            .arg(news.message(self.node));
        commands.add_command(publish);
    }
}
