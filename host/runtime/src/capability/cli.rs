//! `wasi:cli`: arguments, environment, output, exit. Input is empty: nobody types into a fabric.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::component::Linker;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView};
use wasmtime_wasi::p2::bindings::cli;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::{Package, WASI_VERSION};
use crate::host::{Guest, Host};
use crate::log::Log;
use crate::observer::LogStream;

/// Most bytes that a guest may hand over in one write.
const WRITE_BYTES_MAX: usize = 64 << 10;

pub(super) const PACKAGE: Package = Package {
    name: "wasi:cli",
    version: WASI_VERSION,
    interfaces: &[
        "environment",
        "exit",
        "stderr",
        "stdin",
        "stdout",
        "terminal-input",
        "terminal-output",
        "terminal-stderr",
        "terminal-stdin",
        "terminal-stdout",
    ],
    grant: None,
    link,
};

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    cli::environment::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::exit::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::stdin::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::stdout::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::stderr::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_input::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_output::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_stdin::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_stdout::add_to_linker::<Host, WasiCli>(linker, Host::cli)?;
    cli::terminal_stderr::add_to_linker::<Host, WasiCli>(linker, Host::cli)
}

/// Arguments (the component's name first, as programs expect), environment and output.
pub(crate) fn configure(builder: &mut WasiCtxBuilder, guest: &Guest) {
    builder.arg(guest.name.as_str()).args(&guest.args);
    for (key, value) in &guest.env {
        builder.env(key, value);
    }
    let output = |stream| Output {
        log: Arc::clone(&guest.log),
        stream,
    };
    builder
        .stdout(output(LogStream::Stdout))
        .stderr(output(LogStream::Stderr));
}

/// Standard output or error. Never blocks and never fails: what is above the rate is dropped, so
/// that a guest cannot stall on its own log.
#[derive(Clone)]
struct Output {
    log: Arc<Log>,
    stream: LogStream,
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log.write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.log.write(self.stream, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
