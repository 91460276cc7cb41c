//! Doors to decoders of this node's own files, for `tests/fuzz`. Not an interface.

/// Reads a checkpoint of a stateful library, as a restore does.
///
/// # Panics
/// If what was read is not written as the same bytes.
pub fn checkpoint(bytes: &[u8]) {
    crate::checkpoints::read_again(bytes);
}

/// The bytes of a checkpoint.
#[must_use]
pub fn some_checkpoint() -> Vec<u8> {
    crate::checkpoints::some()
}

/// Reads an address book, as at a start.
///
/// # Panics
/// If what was read is not written so that it reads as the same.
pub fn peer_book(bytes: &[u8]) {
    crate::peers::read_book_again(bytes);
}

/// Reads the founding of a fabric, as the first start of a founder does.
///
/// # Panics
/// If what was read is not written so that it reads as the same.
pub fn founding(bytes: &[u8]) {
    crate::founding::read_again(bytes);
}

/// Reads a question of the invoke service, as from a member.
///
/// # Panics
/// If what was read is not written as the same bytes.
pub fn order_ask(body: &[u8]) {
    crate::executions::read_ask_again(body);
}

/// Reads an answer of the invoke service, as from a member.
///
/// # Panics
/// If what was read is not written as the same bytes.
pub fn order_answer(body: &[u8]) {
    crate::executions::read_answer_again(body);
}

/// The bodies of questions of the invoke service and of answers.
#[must_use]
pub fn some_order_messages() -> ([Vec<u8>; 3], [Vec<u8>; 4]) {
    crate::executions::some_messages()
}

/// A founding as text.
#[must_use]
pub fn some_founding() -> String {
    crate::founding::some()
}
