//! Single clicks: pages of them, and all of them as a file.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{BoxStream, iter, try_unfold};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use poem::web::Data;
use poem::{Body, IntoResponse, Response};
use poem_openapi::payload::{Binary, Json, Payload as _};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::Type as _;
use poem_openapi::{ApiResponse, Object, OpenApi};
use terse_core::analytics::{AnalyticsError, ClicksPage, Export, RecordedClick};
use terse_core::model::Timestamp;

use crate::api::Tag;
use crate::api::click::Click;
use crate::api::question::Question;
use crate::api::schema::Nullable;
use crate::api::security::Caller;
use crate::app::App;
use crate::csv::{CSV, Rows};
use crate::problem::{Problem, RefusedField};
use crate::seats::Seat;

pub struct ClicksApi;

const JSON: &str = "application/json";

#[derive(Object)]
struct ClickPage {
    items: Vec<Click>,
    /// `null` on the last page
    next_cursor: Nullable<String>,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Csv,
    Json,
}

impl Format {
    fn read(text: Option<&str>) -> Result<Self, Problem> {
        match text {
            None | Some("csv") => Ok(Self::Csv),
            Some("json") => Ok(Self::Json),
            Some(_) => Err(Problem::refused([RefusedField::new(
                "format",
                "format_unknown",
                "must be csv or json",
            )])),
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => CSV,
            Self::Json => JSON,
        }
    }

    /// The text of these clicks, in a file that has others already unless they `begin` it.
    fn write(self, clicks: Vec<RecordedClick>, begin: bool) -> io::Result<Vec<u8>> {
        let clicks = clicks.into_iter().map(Click);
        match self {
            Self::Csv => {
                let mut rows = Rows::default();
                if begin {
                    Click::names().try_for_each(|name| rows.text(name))?;
                    rows.end_row()?;
                }
                for click in clicks {
                    click.values().try_for_each(|value| rows.text(&value))?;
                    rows.end_row()?;
                }
                rows.into_bytes()
            }
            Self::Json => {
                let mut text = if begin { vec![b'['] } else { Vec::new() };
                for (number, click) in clicks.enumerate() {
                    text.extend_from_slice(if begin && number == 0 { b"\n" } else { b",\n" });
                    serde_json::to_writer(&mut text, &click)?;
                }
                Ok(text)
            }
        }
    }

    const fn end(self) -> &'static str {
        match self {
            Self::Csv => "",
            Self::Json => "\n]\n",
        }
    }
}

/// Clicks, some at a time.
type Batches = BoxStream<'static, Result<Vec<RecordedClick>, AnalyticsError>>;

/// All clicks of an export. What cannot be read at all is an error here, not a broken file.
async fn batches(export: Export) -> Result<Batches, AnalyticsError> {
    let mut batches = Box::pin(try_unfold(export, |mut export| async move {
        let clicks = export.next().await?;
        Ok(clicks.map(|clicks| (clicks, export)))
    }));
    let first = batches.try_next().await?;
    Ok(iter(first.map(Ok)).chain(batches).boxed())
}

/// A file on its way to a client. Nothing is read ahead of what the client takes, and nothing once
/// it is gone: the body is dropped then.
struct Writing {
    batches: Batches,
    format: Format,
    begun: bool,
    ended: bool,
    _seat: Seat,
}

impl Writing {
    fn new(batches: Batches, format: Format, seat: Seat) -> Self {
        Self {
            batches,
            format,
            begun: false,
            ended: false,
            _seat: seat,
        }
    }

    fn into_body(self) -> Body {
        Body::from_bytes_stream(try_unfold(self, Self::part))
    }

    /// The next part of the body. An error breaks the transfer off, so that the file does not look
    /// complete.
    async fn part(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if self.ended {
            return Ok(None);
        }
        let clicks = self.batches.try_next().await.map_err(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "an export was broken off");
            io::Error::other("the export was broken off")
        })?;
        self.ended = clicks.is_none();
        let mut text = self.format.write(clicks.unwrap_or_default(), !self.begun)?;
        self.begun = true;
        if self.ended {
            text.extend_from_slice(self.format.end().as_bytes());
        }
        Ok(Some((text.into(), self)))
    }
}

/// A file to save.
struct File {
    writing: Writing,
    name: String,
}

impl IntoResponse for File {
    fn into_response(self) -> Response {
        let media_type = self.writing.format.media_type();
        let disposition = format!("attachment; filename=\"{}\"", self.name);
        Response::builder()
            .content_type(media_type)
            .header(CONTENT_DISPOSITION, disposition)
            .header(CACHE_CONTROL, "private, no-store")
            .body(self.writing.into_body())
    }
}

impl ApiResponse for File {
    fn meta() -> MetaResponses {
        let media = |content_type, schema: MetaSchemaRef| MetaMediaType {
            content_type,
            schema,
        };
        MetaResponses {
            responses: vec![MetaResponse {
                description: "A file to save",
                status: Some(200),
                status_range: None,
                content: vec![
                    media(CSV, Binary::<Vec<u8>>::schema_ref()),
                    media(JSON, Vec::<Click>::schema_ref()),
                ],
                headers: Vec::new(),
            }],
        }
    }

    fn register(registry: &mut Registry) {
        Click::register(registry);
    }
}

/// As in `clicks-2026-01-01-2026-02-01.csv`: the days that were asked for, the last one today.
fn file_name(question: &Question, format: Format, now: Timestamp) -> String {
    let day = |text: Option<&str>| {
        let moment = text.map(|text| Timestamp::parse("day", text).ok());
        moment.flatten().map(day_of)
    };
    let from = day(question.query.from.as_deref()).map_or_else(String::new, |day| day + "-");
    let to = day(question.query.to.as_deref()).unwrap_or_else(|| day_of(now));
    let extension = match format {
        Format::Csv => "csv",
        Format::Json => "json",
    };
    format!("clicks-{from}{to}.{extension}")
}

fn day_of(moment: Timestamp) -> String {
    moment.to_string().chars().take(10).collect()
}

#[OpenApi(tag = "Tag::Analytics")]
impl ClicksApi {
    /// Single clicks
    ///
    /// By time, in pages.
    #[oai(
        path = "/analytics/clicks",
        method = "get",
        operation_id = "get_clicks"
    )]
    async fn clicks(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        mut question: Question,
    ) -> Result<Json<ClickPage>, Problem> {
        let page = ClicksPage {
            cursor: question.take("cursor"),
            limit: question.take_number("limit"),
            order: question.take("order"),
        };
        let analytics = app.terse.analytics();
        let clicks = analytics.clicks(&caller.0.workspace, question.query, page);
        let clicks = clicks.await?;
        Ok(Json(ClickPage {
            items: clicks.items.into_iter().map(Click).collect(),
            next_cursor: Nullable(clicks.next_cursor),
        }))
    }

    /// All clicks as a file
    ///
    /// In no promised order. A file that could not be written to its end is broken off, never
    /// finished. In CSV, an apostrophe stands before text that a spreadsheet would calculate. At most
    /// 2 exports of a workspace run at once (429), and 8 in all (503).
    #[oai(
        path = "/analytics/export",
        method = "get",
        operation_id = "export_clicks"
    )]
    async fn export(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        mut question: Question,
    ) -> Result<File, Problem> {
        let format = Format::read(question.take("format").as_deref())?;
        let name = file_name(&question, format, app.terse.clock().now());
        let workspace = caller.0.workspace;
        let seat = app.limits.exports.take(workspace)?;
        let export = app.terse.analytics().export(&workspace, question.query);
        let batches = batches(export.await?).await?;
        let writing = Writing::new(batches, format, seat);
        Ok(File { writing, name })
    }
}

#[cfg(test)]
mod tests {
    use terse_core::model::{SeededEntropy, WorkspaceId};

    use super::*;
    use crate::seats::Seats;

    async fn written(
        format: Format,
        batches: Vec<Result<Vec<RecordedClick>, AnalyticsError>>,
    ) -> Result<Vec<u8>, poem::error::ReadBodyError> {
        let seats = Seats::new(1, 1);
        let seat = seats.take(WorkspaceId::random(&SeededEntropy::new(1)));
        let writing = Writing::new(iter(batches).boxed(), format, seat.unwrap());
        let body = writing.into_body().into_vec().await;
        assert_eq!(seats.taken(), 0, "its seat is free again");
        body
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_to_its_end_does_not_end_well() {
        for format in [Format::Csv, Format::Json] {
            let complete = written(format, vec![Ok(Vec::new())]).await.unwrap();
            assert!(complete.ends_with(format.end().as_bytes()));
            let broken = vec![Ok(Vec::new()), Err(AnalyticsError::NotFound)];
            written(format, broken).await.unwrap_err();
        }
    }
}
