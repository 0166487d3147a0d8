//! The command line of `terse-server`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Short links with exact click analytics.
#[derive(Debug, Parser)]
#[command(name = "terse-server", version, about)]
pub struct Arguments {
    /// What to do; serve when nothing is named.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings that win over the file and the environment.
    #[command(flatten)]
    pub flags: Flags,
}

/// Settings on the command line.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// The settings file [default: terse.toml in the working directory, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on, as in 127.0.0.1:8080
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// How people reach this server, as in `https://sho.rt`
    #[arg(long, global = true, value_name = "URL")]
    pub public_url: Option<String>,
    /// Where the database, the click spool and secrets live
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// A level or filters, as in info,sqlx=warn
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// text or json
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve redirects and the API (the default); an empty or older database is migrated first
    Serve,
    /// Bring the database's tables to this version, back, or say where they are
    Migrate {
        /// Which way
        #[command(subcommand)]
        direction: Migrate,
    },
    /// Manage users of this installation
    User {
        /// What to do with them
        #[command(subcommand)]
        action: User,
    },
    /// Check that stored clicks and counters agree; also beside a running server
    Verify,
    /// Look after the click spool
    Spool {
        /// What to do with it
        #[command(subcommand)]
        action: Spool,
    },
    /// Copy the database beside a running server (SQLite; of PostgreSQL it prints how)
    Backup {
        /// The file to make; it must not exist
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Print the settings in force and where each comes from; secrets stay hidden
    Config,
    /// Print the `OpenAPI` document
    Openapi,
}

/// Which way to migrate.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Migrate {
    /// Apply what is missing
    Up,
    /// Take back the latest migration, with its data
    Down {
        /// Confirms that the tables of that migration and their data go away
        #[arg(long)]
        yes_delete_data: bool,
    },
    /// List migrations and whether each is applied
    Status,
}

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Make a user; the password is asked for, or read from standard input
    Create {
        /// The address to sign in with
        #[arg(long)]
        email: String,
        /// Make an administrator of the instance
        #[arg(long)]
        admin: bool,
        /// A name to show
        #[arg(long)]
        name: Option<String>,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
}

/// What to do with the spool.
#[derive(Debug, Subcommand)]
pub enum Spool {
    /// Take over the clicks of a node that is gone; can be repeated, and deletes nothing
    Ship {
        /// The node's spool directory, or the data directory that it is in; no server may be using it
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Record that clicks of one stream are missing for good, and fold what comes after them
    AcceptGap {
        /// The stream that stopped, as in the log
        stream: String,
    },
}
