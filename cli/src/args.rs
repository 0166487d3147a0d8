//! The command line.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use serde::Serialize;

/// Links and figures of a Terse server, at a terminal.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 server unreachable.
#[derive(Parser)]
#[command(name = "terse", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(ClapArgs)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// The server, such as <https://go.example>; the one signed in to when absent
    #[arg(long, global = true, env = "TERSE_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Sign in with an API key instead of `terse login`
    #[arg(
        long,
        global = true,
        env = "TERSE_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub(crate) api_key: Option<String>,
    /// table on a terminal, json otherwise
    #[arg(long, short, global = true, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    /// Print ids only, and no notes
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Do not ask before deleting
    #[arg(long, short, global = true)]
    pub(crate) yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Csv,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Sign in to a server
    Login(LoginArgs),
    /// Sign out, here and at the server
    Logout,
    /// Show who is signed in, and whether the server agrees
    Whoami,
    /// Make, find, change and delete links
    #[command(subcommand)]
    Links(LinksCommand),
    /// Who clicked
    #[command(subcommand)]
    Stats(StatsCommand),
}

#[derive(ClapArgs)]
pub(crate) struct LoginArgs {
    /// Asked for when absent
    #[arg(long)]
    pub(crate) email: Option<String>,
    /// Read the password from standard input instead of asking at the terminal
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[derive(Subcommand)]
pub(crate) enum LinksCommand {
    /// Make a link
    Create(CreateArgs),
    /// Show one link
    Get(LinkRef),
    /// List links
    List(ListArgs),
    /// Change a link
    Update(UpdateArgs),
    /// Let a disabled link redirect again
    Enable(LinkRef),
    /// Stop a link from redirecting
    Disable(LinkRef),
    /// Delete a link; its slug is never issued again
    Delete(LinkRef),
}

/// A link by one of its names.
#[derive(ClapArgs)]
pub(crate) struct LinkRef {
    /// Id, slug or short URL
    #[arg(value_name = "LINK")]
    pub(crate) link: String,
}

/// Fields of a new link, named as the API names them.
#[derive(ClapArgs, Serialize)]
pub(crate) struct CreateArgs {
    /// Where the link leads
    #[arg(value_name = "TARGET")]
    target_url: String,
    /// The short URL's path; generated when absent
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    slug: Option<String>,
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    /// Repeatable
    #[arg(long = "tag", value_name = "TAG")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// 301, 302, 303, 307 or 308
    #[arg(long, value_name = "STATUS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_status: Option<u16>,
    /// Do not add the visitor's query to the target's
    #[arg(long = "no-forward-query", action = clap::ArgAction::SetFalse)]
    forward_query: bool,
    /// RFC 3339, such as 2026-12-01T09:00:00Z
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<String>,
    /// RFC 3339
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// Redirects that people get before the link is exhausted
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_clicks: Option<i64>,
}

/// Filters and paging of a list, named as the API names them.
#[derive(ClapArgs, Serialize)]
pub(crate) struct ListArgs {
    /// Part of the slug, target, title or notes
    #[arg(long)]
    search: Option<String>,
    #[arg(long)]
    tag: Option<String>,
    #[arg(long)]
    domain: Option<String>,
    /// active, scheduled, expired, exhausted, disabled or blocked
    #[arg(long)]
    status: Option<String>,
    /// `created_at`, `updated_at`, clicks or slug
    #[arg(long)]
    sort: Option<String>,
    /// desc or asc
    #[arg(long)]
    order: Option<String>,
    /// Links on one page, 1 to 200
    #[arg(long)]
    pub(crate) limit: Option<u32>,
    /// The `next_cursor` of the page before
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    /// Every page
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    #[serde(skip)]
    pub(crate) all: bool,
}

/// Changes to a link, named as the API names them.
#[derive(ClapArgs, Serialize)]
pub(crate) struct UpdateArgs {
    /// Id, slug or short URL
    #[arg(value_name = "LINK")]
    #[serde(skip)]
    pub(crate) link: String,
    /// Where the link leads
    #[arg(long = "target", value_name = "TARGET")]
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<String>,
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    /// Repeatable; replaces the link's tags
    #[arg(long = "tag", value_name = "TAG")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// 301, 302, 303, 307 or 308
    #[arg(long, value_name = "STATUS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_status: Option<u16>,
    /// Whether to add the visitor's query to the target's
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    forward_query: Option<bool>,
    /// RFC 3339
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<String>,
    /// RFC 3339
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_clicks: Option<i64>,
    /// Unset a field; repeatable
    #[arg(long, value_name = "FIELD")]
    #[serde(skip)]
    pub(crate) clear: Vec<Clearable>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Clearable {
    Title,
    Notes,
    Tags,
    StartsAt,
    ExpiresAt,
    MaxClicks,
}

impl Clearable {
    /// The API's name of the field.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Notes => "notes",
            Self::Tags => "tags",
            Self::StartsAt => "starts_at",
            Self::ExpiresAt => "expires_at",
            Self::MaxClicks => "max_clicks",
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum StatsCommand {
    /// Totals, of the last 30 days unless --from or --to says otherwise
    Summary(StatsArgs),
    /// Counts per step of time
    Timeseries {
        #[command(flatten)]
        query: StatsArgs,
        /// hour, day, week or month
        #[arg(long, default_value = "day")]
        interval: String,
    },
}

/// What to count, named as the API names it.
#[derive(ClapArgs, Serialize)]
pub(crate) struct StatsArgs {
    /// Id, slug or short URL; every link when absent
    #[arg(value_name = "LINK")]
    #[serde(skip)]
    pub(crate) link: Option<String>,
    /// RFC 3339, such as 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// RFC 3339, exclusive
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// A time zone such as Europe/Berlin; UTC when absent
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// Count bots, previews or bots,previews too
    #[arg(long, value_name = "KINDS")]
    include: Option<String>,
}
