//! Doors to decoders of this node's own files, for `tests/fuzz`. Not an interface.

/// Reads an address book, as at a start.
///
/// # Panics
/// If what was read is not written so that it reads as the same.
pub fn peer_book(bytes: &[u8]) {
    crate::peers::read_book_again(bytes);
}
