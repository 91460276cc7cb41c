//! Secret keys: made once, kept in files of mode 0600, never printed. Knows no socket.

mod identity;

pub use identity::{IdentityError, SecretKey};
