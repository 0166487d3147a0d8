//! Signing in and out.

use std::io::{self, IsTerminal};

use reqwest::Method;
use serde_json::json;

use crate::args::{Common, LoginArgs};
use crate::client::{Call, Client, Credentials};
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{self, Columns, Output};
use crate::profile::{Profile, ProfileDir};

const IDENTITY: Columns = Columns {
    table: &["url", "email"],
    all: &["url", "email"],
};

pub(super) fn login(common: &Common, args: LoginArgs, output: &Output) -> Result<(), Error> {
    let dir = ProfileDir::find()?;
    let stored = dir.load()?.map(|profile| profile.url);
    let client = Client::new(&super::server(common, stored.as_deref())?, None)?;
    let email = match args.email {
        Some(email) => email,
        None if io::stdin().is_terminal() => output::prompt("E-mail: ")?,
        None => return Err(Error::Usage("--email is missing".to_owned())),
    };
    let password = password(args.password_stdin, &email)?;
    let tokens = client.sign_in(&email, &password)?;
    let profile = Profile {
        url: client.url().to_owned(),
        email,
        access_token: tokens.access_token,
        refresh_token: tokens.refresh_token,
    };
    let _lock = dir.lock()?;
    dir.store(&profile)?;
    output.note(&format!(
        "Signed in to {} as {}",
        profile.url, profile.email
    ));
    Ok(())
}

fn password(from_stdin: bool, email: &str) -> Result<String, Error> {
    if from_stdin {
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        let password = line.strip_suffix('\n').unwrap_or(&line);
        return Ok(password.strip_suffix('\r').unwrap_or(password).to_owned());
    }
    if !io::stdin().is_terminal() {
        return Err(Error::Usage(
            "no terminal to ask for the password at; use --password-stdin".to_owned(),
        ));
    }
    Ok(rpassword::prompt_password(format!(
        "Password of {email}: "
    ))?)
}

pub(super) fn logout(common: &Common, output: &Output) -> Result<(), Error> {
    let dir = ProfileDir::find()?;
    let Some(profile) = dir.load()? else {
        output.note("Nobody was signed in");
        return Ok(());
    };
    let url = profile.url.clone();
    if common
        .url
        .as_deref()
        .is_some_and(|named| named.trim_end_matches('/') != url)
    {
        return Err(Error::Usage(format!(
            "signed in to {url}, not to the server named"
        )));
    }
    let mut client = Client::new(
        &url,
        Some(Credentials::Session(ProfileDir::find()?, profile)),
    )?;
    let ended = client.send(&Call::new(Method::POST, &["auth", "logout"]));
    // Whatever the server says, its tokens are gone from this machine.
    let _lock = dir.lock()?;
    dir.remove()?;
    match ended {
        // The session had ended already.
        Err(error) if error.exit() == Exit::NotAllowed => {}
        outcome => drop(outcome?),
    }
    output.note(&format!("Signed out of {url}"));
    Ok(())
}

pub(super) fn whoami(common: &Common, output: &Output) -> Result<(), Error> {
    let mut client = super::connect(common)?;
    client.send(&Call::get(&["links"]).query("limit", "1"))?;
    output.record(
        &json!({ "url": client.url(), "email": client.email() }),
        &IDENTITY,
    )
}
