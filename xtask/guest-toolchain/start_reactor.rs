//! Entry point of a guest library: runs its constructors once. Guest code only.
#![no_std]
#![no_builtins]

use core::sync::atomic::{AtomicBool, Ordering};

unsafe extern "C" {
    fn __wasm_call_ctors();
}

static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// Prepares the instance for calls of its exports. A second call traps.
///
/// # Safety
/// Called by the host only, before any other export.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _initialize() {
    if INITIALIZED.swap(true, Ordering::Relaxed) {
        core::arch::wasm32::unreachable();
    }
    // SAFETY: defined by the linker, and called here only, once.
    unsafe { __wasm_call_ctors() }
}
