//! Short links.

use std::sync::Arc;

use poem::Request;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::MaybeUndefined;
use poem_openapi::{ApiResponse, Object, OpenApi};
use terse_core::links::{IdempotencyKey, MalformedIdempotencyKey};
use terse_core::model::{
    Change, FieldError, Link, LinkChanges, LinkFilter, LinkId, NewLink, Permission, Timestamp,
};

use crate::api::Tag;
use crate::api::body::Body;
use crate::api::params::{change, number, time};
use crate::api::schema::{Nullable, Optional, Time};
use crate::api::security::Caller;
use crate::app::App;
use crate::problem::Problem;

pub struct LinksApi;

/// A link to be made
#[derive(Object)]
#[oai(rename = "NewLink", deny_unknown_fields)]
struct NewLinkBody {
    /// Where it leads: http or https, at most 8,192 bytes
    target_url: String,
    /// 1 to 64 letters, digits, `-`, `_`, `.`; generated when absent
    slug: Optional<String>,
    /// The host of the short URL; the server's own when absent
    domain: Optional<String>,
    title: Optional<String>,
    notes: Optional<String>,
    tags: Optional<Vec<String>>,
    /// 301, 302 (default), 303, 307 or 308
    redirect_status: Optional<u16>,
    /// Whether the visitor's query is added to the target's; true when absent
    forward_query: Optional<bool>,
    /// RFC 3339
    starts_at: Optional<String>,
    /// RFC 3339
    expires_at: Optional<String>,
    /// Redirects that people get before the link is exhausted
    max_clicks: Optional<i64>,
}

/// Changes to a link: what is absent stays, `null` clears
#[derive(Object)]
#[oai(rename = "LinkChanges", deny_unknown_fields)]
struct LinkChangesBody {
    target_url: Option<String>,
    title: Optional<String>,
    notes: Optional<String>,
    tags: Optional<Vec<String>>,
    redirect_status: Option<u16>,
    forward_query: Option<bool>,
    starts_at: Optional<String>,
    expires_at: Optional<String>,
    max_clicks: Optional<i64>,
    /// `active`, `disabled` or, for administrators, `blocked`
    status: Option<String>,
}

/// A short link
#[derive(Object)]
#[oai(rename = "Link")]
struct LinkBody {
    id: String,
    short_url: String,
    domain: String,
    slug: String,
    target_url: String,
    title: Nullable<String>,
    notes: Nullable<String>,
    tags: Vec<String>,
    /// `active`, `scheduled`, `expired`, `exhausted`, `disabled` or `blocked`
    status: String,
    redirect_status: u16,
    forward_query: bool,
    starts_at: Nullable<Time>,
    expires_at: Nullable<Time>,
    max_clicks: Nullable<i64>,
    /// Clicks by people; bots and previews are counted apart
    clicks: i64,
    last_clicked_at: Nullable<Time>,
    created_at: Time,
    updated_at: Time,
    created_by: Nullable<String>,
}

#[derive(Object)]
#[oai(rename = "LinkPage")]
struct LinkPage {
    items: Vec<LinkBody>,
    /// `null` on the last page
    next_cursor: Nullable<String>,
}

#[derive(ApiResponse)]
enum Created {
    /// The link redirects from now on
    #[oai(status = 201)]
    Made(Json<LinkBody>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Deleted {
    /// Deleted; its clicks stay counted, its slug is never issued again
    #[oai(status = 204)]
    Done,
}

#[derive(ApiResponse)]
enum ClicksDeleted {
    /// Deleted; clicks from now on are counted as ever
    #[oai(status = 204)]
    Done,
}

#[OpenApi(tag = "Tag::Links")]
impl LinksApi {
    /// Make a link
    #[oai(path = "/links", method = "post", operation_id = "create_link")]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        request: &Request,
        /// Your own name for this request: sent again, it is answered the same and makes nothing
        /// more, for 24 hours
        #[oai(name = "Idempotency-Key")]
        idempotency_key: Header<Option<String>>,
        body: Body<NewLinkBody>,
    ) -> Result<Created, Problem> {
        let new = new_link(body.0);
        let links = app.terse.links().by(caller.0.actor());
        let workspace = &caller.0.workspace;
        // The framework takes a header that it cannot read for none at all.
        drop(idempotency_key);
        let link = match read_key(request)? {
            None => links.create(workspace, new).await?,
            Some(key) => links.create_once(workspace, &key, new).await?,
        };
        let location = format!("{}/links/{}", crate::api::PREFIX, link.id);
        Ok(Created::Made(Json(link.into()), location))
    }

    /// List links
    #[oai(path = "/links", method = "get", operation_id = "list_links")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        /// Part of the slug, target, title or notes
        search: Query<Option<String>>,
        tag: Query<Option<String>>,
        domain: Query<Option<String>>,
        status: Query<Option<String>>,
        /// RFC 3339
        created_after: Query<Option<String>>,
        /// RFC 3339
        created_before: Query<Option<String>>,
        /// `created_at` (default), `updated_at`, `clicks` or `slug`
        sort: Query<Option<String>>,
        /// `desc` (default) or `asc`
        order: Query<Option<String>>,
        /// 1 to 200, default 50
        limit: Query<Option<String>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Result<Json<LinkPage>, Problem> {
        let mut refused = Vec::new();
        let filter = LinkFilter {
            search: search.0,
            tag: tag.0,
            domain: domain.0,
            status: status.0,
            created_after: time("created_after", created_after.0, &mut refused),
            created_before: time("created_before", created_before.0, &mut refused),
            sort: sort.0,
            order: order.0,
            limit: number("limit", limit.0, &mut refused),
            cursor: cursor.0,
        };
        if !refused.is_empty() {
            return Err(Problem::refused(refused));
        }
        let page = app.terse.links().list(&caller.0.workspace, filter).await?;
        Ok(Json(LinkPage {
            items: page.items.into_iter().map(Into::into).collect(),
            next_cursor: Nullable(page.next_cursor),
        }))
    }

    /// Find a link by its short URL
    #[oai(path = "/links/lookup", method = "get", operation_id = "lookup_link")]
    async fn lookup(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        short_url: Query<Option<String>>,
    ) -> Result<Json<LinkBody>, Problem> {
        let short_url = short_url.0.unwrap_or_default();
        let link = app
            .terse
            .links()
            .lookup(&caller.0.workspace, &short_url)
            .await?;
        Ok(Json(link.into()))
    }

    /// One link
    #[oai(path = "/links/:id", method = "get", operation_id = "get_link")]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        id: Path<String>,
    ) -> Result<Json<LinkBody>, Problem> {
        let link = app
            .terse
            .links()
            .get(&caller.0.workspace, link_id(&id)?)
            .await?;
        Ok(Json(link.into()))
    }

    /// Change a link
    ///
    /// In force with the next redirect. The slug stays: links that people have would break.
    #[oai(path = "/links/:id", method = "patch", operation_id = "update_link")]
    async fn update(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        id: Path<String>,
        body: Body<LinkChangesBody>,
    ) -> Result<Json<LinkBody>, Problem> {
        let id = link_id(&id)?;
        let mut changes = changes(body.0);
        changes.only_block = !caller.0.may(Permission::LinksWrite);
        changes.may_block = caller.0.may(Permission::LinksBlock);
        let links = app.terse.links().by(caller.0.actor());
        let link = links.update(&caller.0.workspace, id, changes).await?;
        Ok(Json(link.into()))
    }

    /// Delete a link
    #[oai(path = "/links/:id", method = "delete", operation_id = "delete_link")]
    async fn delete(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        id: Path<String>,
    ) -> Result<Deleted, Problem> {
        let links = app.terse.links().by(caller.0.actor());
        links.delete(&caller.0.workspace, link_id(&id)?).await?;
        Ok(Deleted::Done)
    }

    /// Delete the clicks of a link
    ///
    /// Every click until now, for good: test clicks before a launch, or what somebody asks to be
    /// forgotten. Of days past the workspace's `retention_days` only counts are left, which stay. With
    /// `max_clicks`, the clicks of people that are deleted give their slots back. Asking again does no harm.
    #[oai(
        path = "/links/:id/clicks",
        method = "delete",
        operation_id = "delete_link_clicks"
    )]
    async fn delete_clicks(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        id: Path<String>,
    ) -> Result<ClicksDeleted, Problem> {
        let links = app.terse.links().by(caller.0.actor());
        links
            .delete_clicks(&caller.0.workspace, link_id(&id)?)
            .await?;
        Ok(ClicksDeleted::Done)
    }
}

fn read_key(request: &Request) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = request.headers().get_all("idempotency-key").iter();
    let (value, more) = (values.next(), values.next());
    let Some(value) = value else {
        return Ok(None);
    };
    let text = value.to_str().ok().filter(|_| more.is_none());
    let key = text.unwrap_or_default().parse();
    key.map(Some).map_err(|error: MalformedIdempotencyKey| {
        Problem::malformed(format!("Idempotency-Key {error}."))
    })
}

/// A malformed id is answered exactly like an unknown one.
fn link_id(text: &str) -> Result<LinkId, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

fn new_link(body: NewLinkBody) -> NewLink {
    let mut unreadable = Vec::new();
    NewLink {
        starts_at: time("starts_at", body.starts_at.0.take(), &mut unreadable),
        expires_at: time("expires_at", body.expires_at.0.take(), &mut unreadable),
        target_url: body.target_url,
        slug: body.slug.0.take(),
        domain: body.domain.0.take(),
        title: body.title.0.take(),
        notes: body.notes.0.take(),
        tags: body.tags.0.take().unwrap_or_default(),
        redirect_status: body.redirect_status.0.take(),
        forward_query: body.forward_query.0.take(),
        max_clicks: body.max_clicks.0.take(),
        unreadable,
    }
}

fn time_change(
    field: &'static str,
    value: Optional<String>,
    refused: &mut Vec<FieldError>,
) -> Change<Timestamp> {
    match value.0 {
        MaybeUndefined::Undefined => Change::Keep,
        MaybeUndefined::Null => Change::Clear,
        MaybeUndefined::Value(text) => {
            time(field, Some(text), refused).map_or(Change::Keep, Change::Set)
        }
    }
}

fn changes(body: LinkChangesBody) -> LinkChanges {
    let mut unreadable = Vec::new();
    LinkChanges {
        target_url: body.target_url,
        title: change(body.title),
        notes: change(body.notes),
        tags: match body.tags.0 {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(Vec::new()),
            MaybeUndefined::Value(tags) => Some(tags),
        },
        redirect_status: body.redirect_status,
        forward_query: body.forward_query,
        starts_at: time_change("starts_at", body.starts_at, &mut unreadable),
        expires_at: time_change("expires_at", body.expires_at, &mut unreadable),
        max_clicks: change(body.max_clicks),
        status: body.status,
        only_block: false,
        may_block: false,
        unreadable,
    }
}

impl From<Link> for LinkBody {
    fn from(link: Link) -> Self {
        Self {
            id: link.id.to_string(),
            short_url: link.short_url,
            domain: link.domain,
            slug: link.slug,
            target_url: link.target_url,
            title: Nullable(link.title),
            notes: Nullable(link.notes),
            tags: link.tags,
            status: link.status.as_str().to_owned(),
            redirect_status: link.redirect_status.code(),
            forward_query: link.forward_query,
            starts_at: Nullable(link.starts_at.map(Time)),
            expires_at: Nullable(link.expires_at.map(Time)),
            max_clicks: Nullable(link.max_clicks),
            clicks: link.clicks,
            last_clicked_at: Nullable(link.last_clicked_at.map(Time)),
            created_at: Time(link.created_at),
            updated_at: Time(link.updated_at),
            created_by: Nullable(link.created_by.map(|user| user.to_string())),
        }
    }
}
