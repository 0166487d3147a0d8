//! What each command does.

mod links;
mod login;
mod stats;

use crate::args::{Args, Command, Common};
use crate::client::{Client, Credentials};
use crate::error::Error;
use crate::output::Output;
use crate::profile::ProfileDir;

/// Carries out a command line.
pub(crate) fn run(args: Args) -> Result<(), Error> {
    let output = Output::new(&args.common);
    match args.command {
        Command::Login(login) => login::login(&args.common, login, &output),
        Command::Logout => login::logout(&args.common, &output),
        Command::Whoami => login::whoami(&args.common, &output),
        Command::Links(command) => links::run(&args.common, &command, &output),
        Command::Stats(command) => stats::run(&args.common, &command, &output),
    }
}

/// A client with the credentials that fit the server; tokens are shown to the server that issued them, and to no other.
fn connect(common: &Common) -> Result<Client, Error> {
    let dir = ProfileDir::find()?;
    let profile = dir.load()?;
    let url = server(common, profile.as_ref().map(|profile| profile.url.as_str()))?;
    let client = Client::new(&url, common.api_key.clone().map(Credentials::ApiKey))?;
    if common.api_key.is_some() {
        return Ok(client);
    }
    match profile.filter(|profile| profile.url == client.url()) {
        Some(profile) => Client::new(&url, Some(Credentials::Session(dir, profile))),
        None => Ok(client),
    }
}

fn server(common: &Common, stored: Option<&str>) -> Result<String, Error> {
    let named = common.url.as_deref().filter(|url| !url.is_empty());
    named.or(stored).map(str::to_owned).ok_or_else(|| {
        Error::Usage("which server? Run terse login --url URL, or set TERSE_URL".to_owned())
    })
}
