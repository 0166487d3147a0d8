//! One keep-alive connection of the load generator, with at most one request under way.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

const RESPONSE_BYTES: usize = 16 * 1024;

/// A socket and the response that arrives on it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    /// The request under way: its name, and when it was due.
    pub(crate) waiting: Option<(u64, Instant)>,
    received: Box<[u8]>,
    filled: usize,
    /// Length of the whole response, once its header is complete.
    expected: Option<(u16, usize)>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            waiting: None,
            received: vec![0; RESPONSE_BYTES].into_boxed_slice(),
            filled: 0,
            expected: None,
        })
    }

    /// Sends one request. It is far smaller than a socket's buffer, which is empty: a short write
    /// is an error.
    pub(crate) fn send(&mut self, request: &[u8], tag: u64, due: Instant) -> Result<()> {
        let written = self.socket.write(request).context("sending a request")?;
        ensure!(written == request.len(), "a request was cut short");
        self.waiting = Some((tag, due));
        Ok(())
    }

    /// Reads what has arrived; the response's status once it is complete.
    pub(crate) fn receive(&mut self) -> Result<Option<u16>> {
        match self.socket.read(&mut self.received[self.filled..]) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(bytes) => self.filled += bytes,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error).context("reading a response"),
        }
        if self.expected.is_none() {
            self.expected = parse_header(&self.received[..self.filled])?;
        }
        match self.expected {
            Some((status, length)) if self.filled >= length => {
                ensure!(self.filled == length, "more came than one response");
                self.filled = 0;
                self.expected = None;
                Ok(Some(status))
            }
            Some((_, length)) if length > RESPONSE_BYTES => bail!("a response of {length} bytes"),
            None if self.filled == RESPONSE_BYTES => bail!("a header without end"),
            _ => Ok(None),
        }
    }
}

/// Status and total length of a response whose header is complete.
fn parse_header(bytes: &[u8]) -> Result<Option<(u16, usize)>> {
    const NAME: &[u8] = b"content-length:";
    let mut start = 0;
    let mut status = None;
    let mut body = 0;
    while let Some(length) = bytes[start..].iter().position(|&byte| byte == b'\n') {
        let line = bytes[start..start + length].trim_ascii_end();
        start += length + 1;
        match status {
            None => status = Some(parse_status(line)?),
            Some(status) if line.is_empty() => return Ok(Some((status, start + body))),
            Some(_) => {
                if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
                    let digits = std::str::from_utf8(line[NAME.len()..].trim_ascii())?;
                    body = digits.parse().context("content-length")?;
                }
            }
        }
    }
    Ok(None)
}

fn parse_status(line: &[u8]) -> Result<u16> {
    let digits = line
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .context("this is not an HTTP/1.1 response")?;
    Ok(std::str::from_utf8(digits)?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_only_once_complete_and_says_where_the_body_ends() {
        let response = b"HTTP/1.1 404 Not Found\r\nServer: x\r\nContent-LENGTH:  5\r\n\r\nhello";
        for cut in 0..response.len() - 5 {
            assert!(parse_header(&response[..cut]).expect("valid").is_none());
        }
        let parsed = parse_header(response).expect("valid");
        assert_eq!(parsed, Some((404, response.len())));
    }

    #[test]
    fn something_else_than_http_is_refused() {
        assert!(parse_header(b"SSH-2.0-OpenSSH\r\n").is_err());
    }
}
