//! Single requests for set-up and checks, one connection each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Longer than any answer takes, even of a server that runs under an instrument.
const PATIENCE: Duration = Duration::from_mins(2);

/// A complete response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub body: String,
}

impl Response {
    /// The body as JSON; an error when the status is not 2xx.
    pub fn json(&self) -> Result<Value> {
        ensure!(
            self.status / 100 == 2,
            "status {}: {}",
            self.status,
            self.body
        );
        serde_json::from_str(&self.body).context("the body is not JSON")
    }
}

/// Sends `GET path` with a bearer token, or with none when it is empty.
pub fn get(address: SocketAddr, path: &str, token: &str) -> Result<Response> {
    let authorization = if token.is_empty() {
        String::new()
    } else {
        format!("Authorization: Bearer {token}\r\n")
    };
    exchange(
        address,
        &format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Connection: close\r\n\r\n"
        ),
    )
}

/// Sends `POST path` with a form; its values are percent-encoded already.
pub fn post_form(address: SocketAddr, path: &str, form: &str) -> Result<Response> {
    exchange(
        address,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{form}",
            form.len()
        ),
    )
}

fn exchange(address: SocketAddr, request: &str) -> Result<Response> {
    let mut socket = TcpStream::connect(address).context("connecting")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request.as_bytes())?;
    let mut text = String::new();
    socket
        .read_to_string(&mut text)
        .context("reading the response")?;
    let (head, body) = text
        .split_once("\r\n\r\n")
        .context("an unfinished header")?;
    let status = head
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .context("not HTTP/1.1")?
        .parse()?;
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    let body = if chunked {
        unchunked(body)?
    } else {
        body.to_owned()
    };
    Ok(Response { status, body })
}

fn unchunked(mut rest: &str) -> Result<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").context("an unfinished chunk")?;
        let size = usize::from_str_radix(size, 16).context("a chunk's size")?;
        if size == 0 {
            return Ok(body);
        }
        body.push_str(after.get(..size).context("an unfinished chunk")?);
        rest = after.get(size + 2..).context("an unfinished chunk")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined() {
        assert_eq!(
            unchunked("3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n").expect("valid"),
            "abc0123456789"
        );
    }
}
