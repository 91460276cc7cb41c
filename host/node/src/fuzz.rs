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

/// A founding as text.
#[must_use]
pub fn some_founding() -> String {
    crate::founding::some()
}
