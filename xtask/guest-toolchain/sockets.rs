//! Socket calls that the packaged libc lacks: each says "not supported". Guest code only.
//!
//! Rust's std names them, so a guest that never opens a socket would not link without them. Guests
//! that want the network import `wasi:http` or `wasi:sockets` through WIT.
#![no_std]
#![no_builtins]

use core::ffi::{c_char, c_int, c_void};

/// `ENOTSUP` and `EAI_FAIL` as wasi-libc numbers them.
const ENOTSUP: c_int = 58;
const EAI_FAIL: c_int = -4;

unsafe extern "C" {
    static mut errno: c_int;
}

fn not_supported() -> c_int {
    // SAFETY: a guest has one thread, so nobody else touches `errno` meanwhile.
    unsafe { errno = ENOTSUP };
    -1
}

/// Defines C functions that take what their header says and fail. Nothing is dereferenced.
macro_rules! refuse {
    ($($name:ident($($kind:ty),*);)*) => {$(
        /// Fails with `ENOTSUP`.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($(_: $kind),*) -> c_int {
            not_supported()
        }
    )*};
}

refuse! {
    socket(c_int, c_int, c_int);
    bind(c_int, *const c_void, u32);
    connect(c_int, *const c_void, u32);
    listen(c_int, c_int);
    getsockname(c_int, *mut c_void, *mut u32);
    getpeername(c_int, *mut c_void, *mut u32);
    setsockopt(c_int, c_int, c_int, *const c_void, u32);
    recvfrom(c_int, *mut c_void, usize, c_int, *mut c_void, *mut u32);
    sendto(c_int, *const c_void, usize, c_int, *const c_void, u32);
}

/// Fails: there is no resolver.
#[unsafe(no_mangle)]
pub extern "C" fn getaddrinfo(
    _: *const c_char,
    _: *const c_char,
    _: *const c_void,
    _: *mut *mut c_void,
) -> c_int {
    EAI_FAIL
}

/// Does nothing: [`getaddrinfo`] never gave anything out.
#[unsafe(no_mangle)]
pub extern "C" fn freeaddrinfo(_: *mut c_void) {}

/// The one error that [`getaddrinfo`] gives, in words.
#[unsafe(no_mangle)]
pub extern "C" fn gai_strerror(_: c_int) -> *const c_char {
    c"this guest has no name resolution".as_ptr()
}
