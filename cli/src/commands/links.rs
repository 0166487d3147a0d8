//! Links: made, found, changed, deleted.

use std::io::{self, IsTerminal};

use reqwest::Method;
use serde_json::{Value, json};

use crate::args::{Common, LinksCommand, ListArgs, UpdateArgs};
use crate::client::{Call, Client};
use crate::error::Error;
use crate::output::{self, Columns, Output};

const LINK: Columns = Columns {
    table: &["id", "short_url", "target_url", "status", "clicks"],
    all: &[
        "id",
        "short_url",
        "domain",
        "slug",
        "target_url",
        "title",
        "notes",
        "tags",
        "status",
        "redirect_status",
        "forward_query",
        "starts_at",
        "expires_at",
        "max_clicks",
        "clicks",
        "last_clicked_at",
        "created_at",
        "updated_at",
        "created_by",
    ],
};

/// Addresses below `/links` that are no ids.
const NOT_IDS: [&str; 4] = ["bulk", "export", "import", "lookup"];

pub(super) fn run(common: &Common, command: &LinksCommand, output: &Output) -> Result<(), Error> {
    let client = &mut super::connect(common)?;
    let link = match command {
        LinksCommand::List(args) => return list(client, args, output),
        LinksCommand::Delete(named) => return delete(client, &named.link, common.yes, output),
        LinksCommand::Get(named) => find(client, &named.link)?,
        LinksCommand::Create(args) => {
            let call = Call::new(Method::POST, &["links"]).body(json!(args));
            client.send(&call)?
        }
        LinksCommand::Update(args) => patch(client, &args.link, changes(args)?)?,
        LinksCommand::Enable(named) => patch(client, &named.link, json!({ "status": "active" }))?,
        LinksCommand::Disable(named) => {
            patch(client, &named.link, json!({ "status": "disabled" }))?
        }
    };
    output.record(&link, &LINK)
}

/// The link with this id, slug or short URL.
pub(super) fn find(client: &mut Client, name: &str) -> Result<Value, Error> {
    if name.is_empty() {
        return Err(Error::Usage("the link's name is empty".to_owned()));
    }
    if name.contains("://") {
        return lookup(client, name);
    }
    // A URL's path drops segments of dots, and would then name the list.
    let may_be_id = !NOT_IDS.contains(&name) && !name.starts_with('.') && !name.contains('/');
    if may_be_id {
        match client.send(&Call::get(&["links", name])) {
            Err(error) if error.is_not_found() => {}
            outcome => return outcome,
        }
    }
    let url = client.url().to_owned();
    match lookup(client, &format!("{url}/{name}")) {
        Err(error) if error.is_not_found() => match public_url(client)? {
            Some(public) if public != url => lookup(client, &format!("{public}/{name}")),
            _ => Err(error),
        },
        outcome => outcome,
    }
}

fn lookup(client: &mut Client, short_url: &str) -> Result<Value, Error> {
    client.send(&Call::get(&["links", "lookup"]).query("short_url", short_url))
}

/// Where short URLs live when the API is called at another host, read off the oldest link.
fn public_url(client: &mut Client) -> Result<Option<String>, Error> {
    let call = Call::get(&["links"])
        .query("limit", "1")
        .query("order", "asc");
    let page = client.send(&call)?;
    let oldest = &page["items"][0];
    let base = oldest["short_url"].as_str().and_then(|short_url| {
        let slug = oldest["slug"].as_str()?;
        short_url.strip_suffix(slug)?.strip_suffix('/')
    });
    Ok(base.map(str::to_owned))
}

fn id_of(link: &Value) -> Result<String, Error> {
    let id = link["id"].as_str().filter(|id| !id.is_empty());
    id.map(str::to_owned)
        .ok_or_else(|| Error::Unexpected("the server's answer names no link".to_owned()))
}

/// The id of the link with this id, slug or short URL.
pub(super) fn find_id(client: &mut Client, name: &str) -> Result<String, Error> {
    id_of(&find(client, name)?)
}

fn patch(client: &mut Client, name: &str, changes: Value) -> Result<Value, Error> {
    let id = find_id(client, name)?;
    client.send(&Call::new(Method::PATCH, &["links", &id]).body(changes))
}

fn changes(args: &UpdateArgs) -> Result<Value, Error> {
    let mut changes = json!(args);
    for cleared in &args.clear {
        let field = cleared.field();
        if !changes[field].is_null() {
            return Err(Error::Usage(format!("{field} is both set and cleared")));
        }
        changes[field] = Value::Null;
    }
    if changes.as_object().is_none_or(serde_json::Map::is_empty) {
        return Err(Error::Usage(
            "nothing to change; see terse links update --help".to_owned(),
        ));
    }
    Ok(changes)
}

fn list(client: &mut Client, args: &ListArgs, output: &Output) -> Result<(), Error> {
    let mut page = client.send(&page_call(args))?;
    if args.all {
        let mut items = take_items(&mut page);
        while let Some(cursor) = page["next_cursor"].as_str() {
            page = client.send(&page_call(args).query("cursor", cursor))?;
            items.extend(take_items(&mut page));
        }
        page["items"] = items.into();
    }
    output.records(&page, "items", &LINK)?;
    if let Some(cursor) = page["next_cursor"].as_str()
        && output.is_table()
    {
        output.note(&format!(
            "There are more: add --cursor {cursor}, or use --all"
        ));
    }
    Ok(())
}

fn page_call(args: &ListArgs) -> Call<'static> {
    let call = Call::get(&["links"]).query_of(args);
    if args.all {
        return call.query("limit", "200");
    }
    call
}

fn take_items(page: &mut Value) -> Vec<Value> {
    match page["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn delete(client: &mut Client, name: &str, yes: bool, output: &Output) -> Result<(), Error> {
    if !yes && !io::stdin().is_terminal() {
        return Err(Error::Usage(
            "no terminal to ask at; add --yes to delete".to_owned(),
        ));
    }
    let link = find(client, name)?;
    let id = id_of(&link)?;
    let short_url = link["short_url"].as_str().unwrap_or(name);
    let question = format!("Delete {short_url}? Its slug is never issued again.");
    if !yes && !output::ask(&question)? {
        return Err(Error::Unexpected("nothing was deleted".to_owned()));
    }
    client.send(&Call::new(Method::DELETE, &["links", &id]))?;
    output.note(&format!("Deleted {short_url}"));
    output.gone(&id)
}
