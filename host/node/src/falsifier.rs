//! A node that lies about what it ran: its receipts are its own and say what did not happen. Only in
//! builds of tests.

use proofs::{Receipt, output_digest};

use crate::executions::Stated;

/// What it lies about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// The result, and the receipt says so, too.
    Output,
    /// The fuel: less than was used.
    Fuel,
}

impl Lie {
    /// The lie that a word stands for: `output` or `fuel`.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "output" => Some(Self::Output),
            "fuel" => Some(Self::Fuel),
            _ => None,
        }
    }

    pub(crate) fn stated(self) -> Stated {
        tracing::warn!("this node lies about what it ran");
        match self {
            Self::Output => |receipt: &mut Receipt, result: &mut String| {
                *result = contrary(result);
                receipt.output = output_digest(result);
            },
            Self::Fuel => |receipt: &mut Receipt, _: &mut String| receipt.fuel /= 2,
        }
    }
}

/// As long a text with another last digit, or none where there is one.
fn contrary(result: &str) -> String {
    let mut other = result.to_owned();
    match other.pop() {
        Some(digit @ '0'..='8') => other.push(char::from(digit as u8 + 1)),
        Some(_) => other.push('0'),
        None => other.push('0'),
    }
    other
}
