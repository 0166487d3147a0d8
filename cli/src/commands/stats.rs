//! Figures.

use crate::args::{Common, StatsArgs, StatsCommand};
use crate::client::{Call, Client};
use crate::error::Error;
use crate::output::{Columns, Output};

const SUMMARY: Columns = Columns {
    table: &["clicks", "visitors", "bots", "previews"],
    all: &[
        "clicks",
        "visitors",
        "bots",
        "previews",
        "last_clicked_at",
        "as_of",
        "pending",
    ],
};

const POINT: Columns = Columns {
    table: &["start", "clicks", "visitors"],
    all: &["start", "clicks", "visitors"],
};

pub(super) fn run(common: &Common, command: &StatsCommand, output: &Output) -> Result<(), Error> {
    let client = &mut super::connect(common)?;
    match command {
        StatsCommand::Summary(query) => {
            let call = question(client, &["analytics", "summary"], query)?;
            output.record(&client.send(&call)?, &SUMMARY)
        }
        StatsCommand::Timeseries { query, interval } => {
            let call = question(client, &["analytics", "timeseries"], query)?;
            let answer = client.send(&call.query("interval", interval))?;
            output.records(&answer, "points", &POINT)
        }
    }
}

fn question(
    client: &mut Client,
    path: &'static [&'static str],
    query: &StatsArgs,
) -> Result<Call<'static>, Error> {
    let call = Call::get(path).query_of(query);
    Ok(match &query.link {
        Some(name) => call.query("link_id", &super::links::find_id(client, name)?),
        None => call,
    })
}
