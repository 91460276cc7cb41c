//! `http-error-code` of `wasi:http/types@0.2`: what broke a body off, told from a stream's error.
//!
//! wasmtime-wasi-http 48.0.8 looks for an `error-code` in that error, while its bodies put their own
//! error type there: its function answers none whatever happened, so this one stands in its place.

use std::error::Error as _;
use std::io;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, IoError};

use super::WASI_VERSION;
use crate::host::Host;

/// Puts the function in the place of the one that is linked already.
pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let linked = link_function(linker);
    linker.allow_shadowing(false);
    linked
}

fn link_function(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut types = linker.instance(&format!("wasi:http/types@{WASI_VERSION}"))?;
    types.func_wrap(
        "http-error-code",
        |mut store: StoreContextMut<'_, Host>, (error,): (Resource<IoError>,)| {
            let error = store.data_mut().table().get(&error)?;
            let known = error.downcast_ref::<ErrorCode>().cloned();
            Ok((known.or_else(|| error.downcast_ref().map(code)),))
        },
    )
}

/// The code for whatever can end a body; the rest keeps its text.
fn code(error: &Error) -> ErrorCode {
    match error {
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        Error::Hyper(error) => code(&named(error)),
        Error::HttpProtocolError => ErrorCode::HttpProtocolError,
        other => ErrorCode::InternalError(Some(other.to_string())),
    }
}

/// What a connection's error means for the body that it ended; never [`Error::Hyper`], of which
/// guests of WASI 0.3 are told no more than that the protocol was broken.
pub(super) fn named(error: &hyper::Error) -> Error {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => Error::HttpResponseIncomplete,
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            Error::ConnectionTerminated
        }
        _ if error.is_incomplete_message() => Error::HttpResponseIncomplete,
        _ if error.is_timeout() => Error::ConnectionReadTimeout,
        _ => Error::HttpProtocolError,
    }
}
