//! Entry point of a guest command: constructors, `main`, destructors, exit code. Guest code only.
//!
//! The libc of the packaged toolchain comes without start files, so this is compiled to the object
//! that rustc links in front of every executable.
#![no_std]
#![no_builtins]

use core::sync::atomic::{AtomicBool, Ordering};

unsafe extern "C" {
    fn __wasm_call_ctors();
    fn __main_void() -> i32;
    fn __wasm_call_dtors();
    fn exit(code: i32) -> !;
}

static STARTED: AtomicBool = AtomicBool::new(false);

/// Runs the program once. A second call traps: constructors must not run on used memory.
///
/// # Safety
/// Called by the host only, as the first export of a fresh instance.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _start() {
    if STARTED.swap(true, Ordering::Relaxed) {
        core::arch::wasm32::unreachable();
    }
    // SAFETY: the linker defines both; this is the one place that calls them, once, in this order.
    let code = unsafe {
        __wasm_call_ctors();
        let code = __main_void();
        __wasm_call_dtors();
        code
    };
    if code != 0 {
        // SAFETY: libc's `exit` takes any code.
        unsafe { exit(code) }
    }
}
