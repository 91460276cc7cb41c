//! Log records, kept for the test to look at.

use super::with;
use crate::log::Level;

/// Level, context and text of every record since the last [`reset`](super::reset).
#[must_use]
pub fn logs() -> Vec<(Level, String, String)> {
    with(|state| state.logs.clone())
}

pub(crate) fn write(level: Level, context: &str, message: &str) {
    with(|state| {
        let record = (level, context.to_owned(), message.to_owned());
        state.logs.push(record);
    });
}
