//! Requests that no well-behaved client can be made to send.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::answer::Answer;
use crate::server::PATIENCE;

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A GET of `target` with these header lines, beside what a browser on `localhost` sends.
#[track_caller]
pub(crate) fn get(address: SocketAddr, target: &[u8], lines: &[&[u8]]) -> Answer {
    let mut request = [b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\n"].concat();
    for line in lines {
        request.extend_from_slice(line);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"Connection: close\r\n\r\n");
    send(address, &request)
}

/// Sends these bytes and reads one answer.
#[track_caller]
pub(crate) fn send(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(address);
    // A server may answer and close before it has read everything.
    let _ = stream.write_all(request);
    let answer = read(&mut stream);
    answer.unwrap_or_else(|| panic!("no answer to {}", String::from_utf8_lossy(request)))
}

/// Reads up to the end of the stream and takes the first answer from it; `None` when there is none.
pub(crate) fn read(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..length]);
        if complete(&bytes) {
            break;
        }
    }
    parse(&bytes)
}

fn complete(bytes: &[u8]) -> bool {
    parse(bytes).is_some_and(|answer| {
        let length = answer.headers.get("content-length");
        length.is_some_and(|length| {
            let length: usize = length.to_str().unwrap().parse().unwrap();
            answer.body.len() >= length
        })
    })
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let name: HeaderName = name.parse().ok()?;
        headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    let body = bytes[end + 4..].to_vec();
    Some(Answer {
        status,
        headers,
        body,
    })
}
