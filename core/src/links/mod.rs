//! Making, finding, changing and retiring links.

mod checks;
mod clicks;
mod differences;
mod idempotency;
mod list;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use crate::model::{
    Actor, Clock, Entropy, FieldError, Link, LinkChanges, LinkFilter, LinkId, LinkState,
    LinkStatus, NewLink, Page, RedirectStatus, Slug, TargetPolicy, Timestamp, WorkspaceId,
    slug_from_path,
};
use crate::resolver::Resolver;
use crate::site::Site;
use crate::store::audit::AuditEntry;
use crate::store::idempotency::RepeatableRequest;
use crate::store::links::LinkRow;
use crate::store::{Store, StoreError};

pub(crate) use clicks::ClickEraser;
pub use idempotency::{IdempotencyKey, MalformedIdempotencyKey};

/// Links of every workspace; each call names the one it acts in.
#[derive(Clone, Debug)]
pub struct Links {
    store: Store,
    site: Arc<Site>,
    resolver: Arc<Resolver>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    slug_length: u8,
    clicks: ClickEraser,
    turns: Arc<[Mutex<()>]>,
    actor: Actor,
}

/// Why a link was not made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Every refused field; nothing was stored.
    #[error("the link was refused")]
    Refused(Vec<FieldError>),
    #[error("a link with this slug exists")]
    SlugTaken,
    /// A deleted link had it, and slugs are never issued again.
    #[error("this slug belonged to a deleted link and is retired")]
    SlugRetired,
    /// Unknown, deleted, or of another workspace.
    #[error("there is no such link")]
    NotFound,
    /// The key belongs to another request of the same principal.
    #[error("this idempotency key was used for something else")]
    KeyReused,
    /// Others changed the link again and again in the meantime.
    #[error("the link is being changed by too many at once")]
    Contended,
    /// Only administrators block and unblock links.
    #[error("blocking and unblocking links needs the permission links:block")]
    MayNotBlock,
    /// Whoever may block links only, changes nothing else.
    #[error("changing links needs the permission links:write")]
    MayNotWrite,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FieldError> for LinkError {
    fn from(error: FieldError) -> Self {
        Self::Refused(vec![error])
    }
}

// A slug of seven symbols is taken once in billions of times; after some bad luck it gets longer.
const GENERATE_ATTEMPTS: u8 = 5;
const UPDATE_ATTEMPTS: u8 = 8;
// Changes of one link on one node take turns, so that only other nodes make one try again. A change
// that cannot get its turn, because the database is slow, tries without.
const TURNS: i64 = 64;
const TURN_PATIENCE: Duration = Duration::from_secs(1);

impl Links {
    pub(crate) fn new(
        store: Store,
        site: Arc<Site>,
        resolver: Arc<Resolver>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        slug_length: u8,
        clicks: ClickEraser,
    ) -> Self {
        Self {
            store,
            site,
            resolver,
            clock,
            entropy,
            slug_length,
            clicks,
            turns: (0..TURNS).map(|_| Mutex::default()).collect(),
            actor: Actor::system(),
        }
    }

    /// The same links, changed in somebody's name: it is kept with each link and in the audit log.
    #[must_use]
    pub fn by(&self, actor: Actor) -> Self {
        Self {
            actor,
            ..self.clone()
        }
    }

    /// Makes a link; it redirects from the moment this returns.
    pub async fn create(&self, workspace: &WorkspaceId, new: NewLink) -> Result<Link, LinkError> {
        let made = self.make(workspace, new, None).await?;
        made.ok_or(LinkError::Contended)
    }

    /// Makes a link; `None` when `request` was answered before.
    async fn make(
        &self,
        workspace: &WorkspaceId,
        new: NewLink,
        request: Option<&RepeatableRequest>,
    ) -> Result<Option<Link>, LinkError> {
        let now = self.clock.now();
        let draft = checks::draft(&new, &self.site, &self.target_policy())?;
        // It may have been deleted since somebody was let in: nobody could delete the link any more.
        let visitor_epoch = self.store.visitor_epoch_of(*workspace).await?;
        let visitor_epoch = visitor_epoch.ok_or(LinkError::NotFound)?;
        let mut row = LinkRow {
            id: LinkId::random(&*self.entropy),
            workspace_id: *workspace,
            visitor_epoch,
            domain_id: self.site.domain,
            host: self.site.host.clone(),
            slug: String::new(),
            target_url: draft.target.as_str().to_owned(),
            title: draft.title,
            notes: draft.notes,
            state: LinkState::Active,
            redirect_status: i64::from(draft.redirect_status.code()),
            forward_query: new.forward_query.unwrap_or(true),
            starts_at: new.starts_at,
            expires_at: new.expires_at,
            max_clicks: new.max_clicks,
            version: 1,
            created_at: now,
            updated_at: now,
            created_by: self.actor.user,
            humans: 0,
            last_clicked_at: None,
            tags: draft.tags,
        };
        let made = match draft.slug {
            Some(slug) => self.insert_alias(&mut row, &slug, request).await?,
            None => self.insert_generated(&mut row, request).await?,
        };
        Ok(made.then(|| self.shown(row)))
    }

    async fn insert_alias(
        &self,
        row: &mut LinkRow,
        slug: &Slug,
        request: Option<&RepeatableRequest>,
    ) -> Result<bool, LinkError> {
        match self.insert(row, slug, request).await {
            Err(StoreError::Taken) => {
                let holder = self.store.slug_holder(row.domain_id, &slug.key()).await?;
                Err(match holder {
                    Some(LinkState::Deleted) => LinkError::SlugRetired,
                    _ => LinkError::SlugTaken,
                })
            }
            other => Ok(other?),
        }
    }

    async fn insert_generated(
        &self,
        row: &mut LinkRow,
        request: Option<&RepeatableRequest>,
    ) -> Result<bool, LinkError> {
        let mut length = self.slug_length;
        loop {
            for _ in 0..GENERATE_ATTEMPTS {
                let slug = Slug::generate(length, &*self.entropy);
                match self.insert(row, &slug, request).await {
                    Err(StoreError::Taken) => {}
                    other => return Ok(other?),
                }
            }
            length = length.saturating_add(1).min(64);
        }
    }

    async fn insert(
        &self,
        row: &mut LinkRow,
        slug: &Slug,
        request: Option<&RepeatableRequest>,
    ) -> Result<bool, StoreError> {
        slug.as_str().clone_into(&mut row.slug);
        let change = self.resolver.changing(row.domain_id, &slug.key());
        let entry = self.entry(row, "link.create");
        let made = self
            .store
            .insert_link(row, &slug.key(), &entry, request)
            .await?;
        if made {
            change.published(row);
        }
        Ok(made)
    }

    /// One link.
    pub async fn get(&self, workspace: &WorkspaceId, id: LinkId) -> Result<Link, LinkError> {
        let row = self.row(*workspace, id).await?;
        Ok(self.shown(row))
    }

    /// The link of a short URL such as `https://go.example/launch`.
    pub async fn lookup(
        &self,
        workspace: &WorkspaceId,
        short_url: &str,
    ) -> Result<Link, LinkError> {
        let malformed = || {
            FieldError::new(
                "short_url",
                "short_url_invalid",
                "must be a short URL such as https://go.example/launch",
            )
        };
        let url = url::Url::parse(short_url).map_err(|_| malformed())?;
        let host = url.host_str().ok_or_else(malformed)?;
        let domain = self.site.domain_of(host).ok_or(LinkError::NotFound)?;
        let folded = slug_from_path(url.path()).ok_or(LinkError::NotFound)?;
        let row = self
            .store
            .link_by_slug(domain, folded.as_str())
            .await?
            .filter(|row| row.workspace_id == *workspace && row.state != LinkState::Deleted)
            .ok_or(LinkError::NotFound)?;
        let mut rows = self.store.all_with_tags(vec![row]).await?;
        rows.pop()
            .map(|row| self.shown(row))
            .ok_or(LinkError::NotFound)
    }

    /// One page of the workspace's links.
    pub async fn list(
        &self,
        workspace: &WorkspaceId,
        filter: LinkFilter,
    ) -> Result<Page<Link>, LinkError> {
        let query = list::ListQuery::parse(filter, self.clock.now())?;
        let rows = self.store.list_links(*workspace, &query.selection).await?;
        let (rows, next_cursor) = query.page(rows);
        Ok(Page {
            items: rows.into_iter().map(|row| self.shown(row)).collect(),
            next_cursor,
        })
    }

    /// Changes a link; the next redirect sees it.
    pub async fn update(
        &self,
        workspace: &WorkspaceId,
        id: LinkId,
        changes: LinkChanges,
    ) -> Result<Link, LinkError> {
        let _turn = self.turn(id).await;
        for _ in 0..UPDATE_ATTEMPTS {
            let current = self.row(*workspace, id).await?;
            let wanted = checks::apply(&current, changes.clone(), &self.target_policy())?;
            if let Some(stored) = self.replace(&current, wanted, "link.update").await? {
                return Ok(self.shown(stored));
            }
        }
        Err(LinkError::Contended)
    }

    /// Deletes a link. Its clicks stay counted; its slug is retired.
    pub async fn delete(&self, workspace: &WorkspaceId, id: LinkId) -> Result<(), LinkError> {
        let _turn = self.turn(id).await;
        for _ in 0..UPDATE_ATTEMPTS {
            let current = self.row(*workspace, id).await?;
            let mut deleted = current.clone();
            deleted.state = LinkState::Deleted;
            if self
                .replace(&current, deleted, "link.delete")
                .await?
                .is_some()
            {
                return Ok(());
            }
        }
        Err(LinkError::Contended)
    }

    /// Stores `changed` in place of `current`; `None` when somebody else was faster.
    async fn replace(
        &self,
        current: &LinkRow,
        mut changed: LinkRow,
        action: &'static str,
    ) -> Result<Option<LinkRow>, StoreError> {
        changed.version = current.version + 1;
        changed.updated_at = self.clock.now();
        let key = changed.slug.to_ascii_lowercase();
        let change = self.resolver.changing(changed.domain_id, &key);
        let mut entry = self.entry(&changed, action);
        entry.details = differences::differences(current, &changed);
        let replaced = self
            .store
            .update_link(&changed, current.version, &entry)
            .await?;
        if !replaced {
            return Ok(None);
        }
        change.published(&changed);
        Ok(Some(changed))
    }

    fn entry(&self, row: &LinkRow, action: &'static str) -> AuditEntry<'_> {
        AuditEntry {
            at: row.updated_at,
            actor: &self.actor,
            workspace: Some(row.workspace_id),
            action,
            object: Some(row.id.to_string()),
            details: serde_json::json!({ "slug": row.slug, "target_url": row.target_url }),
        }
    }

    async fn turn(&self, id: LinkId) -> Option<MutexGuard<'_, ()>> {
        let turn = usize::try_from(id.number().rem_euclid(TURNS)).unwrap_or(0);
        tokio::time::timeout(TURN_PATIENCE, self.turns[turn].lock())
            .await
            .ok()
    }

    async fn row(&self, workspace: WorkspaceId, id: LinkId) -> Result<LinkRow, LinkError> {
        self.store
            .link(workspace, id)
            .await?
            .ok_or(LinkError::NotFound)
    }

    fn target_policy(&self) -> TargetPolicy {
        TargetPolicy {
            extra_schemes: Vec::new(),
            own_hosts: vec![self.site.host.clone()],
        }
    }

    fn shown(&self, row: LinkRow) -> Link {
        let status = status_at(&row, self.clock.now());
        Link {
            id: row.id,
            workspace: row.workspace_id,
            short_url: self.site.short_url(&row.slug),
            domain: row.host,
            slug: row.slug,
            target_url: row.target_url,
            title: row.title,
            notes: row.notes,
            tags: row.tags,
            status,
            redirect_status: redirect_status(row.redirect_status),
            forward_query: row.forward_query,
            starts_at: row.starts_at,
            expires_at: row.expires_at,
            max_clicks: row.max_clicks,
            clicks: row.humans,
            last_clicked_at: row.last_clicked_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            created_by: row.created_by,
        }
    }
}

/// The stored number as a status; unknown ones, which nobody can store, redirect by 302.
pub(crate) fn redirect_status(stored: i64) -> RedirectStatus {
    u16::try_from(stored)
        .ok()
        .and_then(RedirectStatus::from_code)
        .unwrap_or_default()
}

fn status_at(row: &LinkRow, now: Timestamp) -> LinkStatus {
    match row.state {
        LinkState::Blocked | LinkState::Deleted => LinkStatus::Blocked,
        LinkState::Disabled => LinkStatus::Disabled,
        LinkState::Active => {
            if row.expires_at.is_some_and(|expires_at| expires_at <= now) {
                LinkStatus::Expired
            } else if row.max_clicks.is_some_and(|max| row.humans >= max) {
                LinkStatus::Exhausted
            } else if row.starts_at.is_some_and(|starts_at| starts_at > now) {
                LinkStatus::Scheduled
            } else {
                LinkStatus::Active
            }
        }
    }
}
