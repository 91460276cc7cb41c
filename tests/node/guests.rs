//! HTTP guests put together from the texts of the runtime's own tests.

const FRAME: &str = include_str!("../../host/runtime/tests/guests/http.wat");
const PARTS: [(&str, &str); 3] = [
    (
        ";;{streams}",
        include_str!("../../host/runtime/tests/guests/streams.wat"),
    ),
    (
        ";;{error-code}",
        include_str!("../../host/runtime/tests/guests/error-code.wat"),
    ),
    (
        ";;{libc}",
        include_str!("../../host/runtime/tests/guests/libc.wat"),
    ),
];

const FRAME_0_3: &str = include_str!("../../host/runtime/tests/guests/http-0.3.wat");

fn with(handle: &str) -> String {
    framed(FRAME, handle)
}

fn framed(frame: &str, handle: &str) -> String {
    let text = frame.replace(";;{handle}", handle);
    PARTS
        .iter()
        .fold(text, |text, (mark, part)| text.replace(mark, part))
}

/// Sends back what it gets, piece by piece.
pub(crate) fn echo() -> String {
    with(include_str!(
        "../../host/runtime/tests/guests/handle-echo.wat"
    ))
}

/// Never answers and never rests.
pub(crate) fn spin() -> String {
    with(include_str!(
        "../../host/runtime/tests/guests/handle-spin.wat"
    ))
}

/// Traps.
pub(crate) fn trap() -> String {
    with(include_str!(
        "../../host/runtime/tests/guests/handle-trap.wat"
    ))
}

/// A worker of the runtime's tests: `echo`, `trap` or `spin`.
pub(crate) fn worker(handle: &str) -> String {
    worker_of(match handle {
        "echo" => include_str!("../../host/runtime/tests/guests/worker-echo.wat"),
        "trap" => include_str!("../../host/runtime/tests/guests/worker-trap.wat"),
        _ => include_str!("../../host/runtime/tests/guests/worker-spin.wat"),
    })
}

/// A worker that handles messages with this function.
pub(crate) fn worker_of(handle: &str) -> String {
    let frame = include_str!("../../host/runtime/tests/guests/worker.wat");
    let text = frame.replace(";;{handle}", handle);
    PARTS
        .iter()
        .fold(text, |text, (mark, part)| text.replace(mark, part))
}

/// A library that hands the functions of the ledger through.
pub(crate) fn ledger_user() -> String {
    let text = include_str!("../../host/runtime/tests/guests/consensus.wat");
    PARTS.iter().fold(text.to_owned(), |text, (mark, part)| {
        text.replace(mark, part)
    })
}

/// A library that hands the functions of proofs through.
pub(crate) fn proofs_user() -> String {
    let text = include_str!("../../host/runtime/tests/guests/proofs.wat");
    PARTS.iter().fold(text.to_owned(), |text, (mark, part)| {
        text.replace(mark, part)
    })
}

/// A stateful library that hands the functions of leased memory through.
pub(crate) fn memory_user() -> String {
    let text = include_str!("../../host/runtime/tests/guests/memory.wat");
    PARTS.iter().fold(text.to_owned(), |text, (mark, part)| {
        text.replace(mark, part)
    })
}

/// A stateful library that hands the functions of leased processors through.
pub(crate) fn cpu_user() -> String {
    let text = include_str!("../../host/runtime/tests/guests/cpu.wat");
    PARTS.iter().fold(text.to_owned(), |text, (mark, part)| {
        text.replace(mark, part)
    })
}

/// A stateful library that hands the functions of volumes through.
pub(crate) fn volume_user() -> String {
    let text = include_str!("../../host/runtime/tests/guests/volumes.wat");
    PARTS.iter().fold(text.to_owned(), |text, (mark, part)| {
        text.replace(mark, part)
    })
}

/// A stateful library that hands the functions of leased transport through.
pub(crate) fn network_user() -> String {
    let text = include_str!("../../host/runtime/tests/guests/network.wat");
    PARTS.iter().fold(text.to_owned(), |text, (mark, part)| {
        text.replace(mark, part)
    })
}

/// A library that is good under the deterministic profile.
pub(crate) fn deterministic() -> &'static str {
    include_str!("../../host/runtime/tests/guests/deterministic.wat")
}

/// Answers with how many requests its instance has had.
pub(crate) fn count() -> String {
    with(include_str!(
        "../../host/runtime/tests/guests/handle-count.wat"
    ))
}

/// The same, for WASI 0.3.
pub(crate) fn count_0_3() -> String {
    framed(
        FRAME_0_3,
        include_str!("../../host/runtime/tests/guests/handle3-count.wat"),
    )
}
