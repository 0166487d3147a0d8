//! What Terse is compared with: the least a poem server can do for a redirect.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use poem::http::{StatusCode, header};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Response, Server, get, handler};

use crate::machine;

/// The argument that makes a bench program the baseline server instead.
const ARGUMENT: &str = "serve-constant-302";

/// Whether this process was started to be the baseline server.
pub fn is_asked_for() -> bool {
    std::env::args().any(|argument| argument == ARGUMENT)
}

/// Answers every GET with the same 302, until the process is ended. Prints its port first.
///
/// The runtime is the one that the real server has, and so should be the program's allocator.
pub fn serve() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await?;
            let port = acceptor
                .local_addr()
                .first()
                .and_then(|address| address.as_socket_addr())
                .context("a listener without an address")?
                .port();
            writeln!(std::io::stdout(), "{port}")?;
            let routes = poem::Route::new().at("/*path", get(constant));
            Server::new_with_acceptor(acceptor).run(routes).await?;
            Ok(())
        })
}

#[handler]
fn constant() -> Response {
    Response::builder()
        .status(StatusCode::FOUND)
        .header(
            header::LOCATION,
            "https://example.com/articles/2026/11/a-page-that-somebody-shared",
        )
        .header(header::CACHE_CONTROL, "private, no-store")
        .finish()
}

/// The baseline server as a process of its own; ended when dropped.
#[derive(Debug)]
pub struct Baseline {
    child: Child,
    address: SocketAddr,
}

impl Baseline {
    /// Starts this same program as the baseline server, on these cores.
    pub fn start(cores: &[usize]) -> Result<Self> {
        let program = std::env::current_exe()?;
        Self::start_as(Command::new(program), cores)
    }

    /// As [`Baseline::start`], by a command that goes on with this program's path: an instrument.
    pub fn start_under(mut instrument: Command, cores: &[usize]) -> Result<Self> {
        instrument.arg(std::env::current_exe()?);
        Self::start_as(instrument, cores)
    }

    fn start_as(mut command: Command, cores: &[usize]) -> Result<Self> {
        command.arg(ARGUMENT).stdout(Stdio::piped());
        let mut child = machine::on_cores(cores, || command.spawn())?.context("the baseline")?;
        let mut line = String::new();
        let output = child.stdout.take().context("the baseline's output")?;
        BufReader::new(output).read_line(&mut line)?;
        let port: u16 = line.trim().parse().context("the baseline's port")?;
        Ok(Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks the process to end, and waits for it.
    pub fn stop(mut self) -> Result<()> {
        machine::terminate(&self.child)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
