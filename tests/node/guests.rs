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

fn with(handle: &str) -> String {
    let text = FRAME.replace(";;{handle}", handle);
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
