//! The replication dial: how many nodes run one invocation, and how many of them must agree. Knows
//! no node.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many nodes run an invocation, and how many must agree: `one`, `M/K` or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Replication {
    /// One node runs it, and is believed.
    #[default]
    One,
    /// So many drawn nodes run it.
    Of {
        /// How many must agree: more than half of them, so that no two outcomes can both have it.
        agree: u16,
        /// How many run it, 2 to [`Replication::NODES_MAX`].
        of: u16,
    },
    /// Every member runs it, and all must agree.
    All,
}

/// A text that is no setting of the dial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReplicationError {
    /// Neither word nor fraction.
    #[error("`{0}`: expected `one`, `all`, or M/K such as `2/3`")]
    Form(String),
    /// Too few or too many nodes.
    #[error("`{agree}/{of}`: M of K nodes takes 2 to {max} of them", max = Replication::NODES_MAX)]
    Nodes {
        /// How many were to agree.
        agree: u16,
        /// Of how many.
        of: u16,
    },
    /// Two outcomes could both have so many.
    #[error("`{agree}/{of}`: M must be more than half of K and at most K")]
    Majority {
        /// How many were to agree.
        agree: u16,
        /// Of how many.
        of: u16,
    },
}

impl Replication {
    /// Most nodes that run one invocation: so many receipts one certificate has.
    pub const NODES_MAX: u16 = 16;

    /// How many must agree, and of how many, in a fabric of so many members.
    #[must_use]
    pub const fn among(self, members: u16) -> (u16, u16) {
        match self {
            Self::One => (1, 1),
            Self::Of { agree, of } => (agree, of),
            Self::All => (members, members),
        }
    }
}

impl FromStr for Replication {
    type Err = ParseReplicationError;

    fn from_str(text: &str) -> Result<Self, ParseReplicationError> {
        let form = || ParseReplicationError::Form(text.chars().take(20).collect());
        let number = |digits: &str| {
            let plain = !digits.starts_with(['0', '+']);
            digits.parse::<u16>().ok().filter(|_| plain)
        };
        let (agree, of) = match text {
            "one" => return Ok(Self::One),
            "all" => return Ok(Self::All),
            _ => text.split_once('/').ok_or_else(form)?,
        };
        let agree = number(agree).ok_or_else(form)?;
        let of = number(of).ok_or_else(form)?;
        if !(2..=Self::NODES_MAX).contains(&of) {
            return Err(ParseReplicationError::Nodes { agree, of });
        }
        if agree > of || agree <= of / 2 {
            return Err(ParseReplicationError::Majority { agree, of });
        }
        Ok(Self::Of { agree, of })
    }
}

impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.pad("one"),
            Self::All => f.pad("all"),
            Self::Of { agree, of } => write!(f, "{agree}/{of}"),
        }
    }
}

impl TryFrom<String> for Replication {
    type Error = ParseReplicationError;

    fn try_from(text: String) -> Result<Self, ParseReplicationError> {
        text.parse()
    }
}

impl From<Replication> for String {
    fn from(replication: Replication) -> Self {
        replication.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_reads_as_it_is_written() {
        for text in ["one", "all", "2/2", "2/3", "9/16", "16/16"] {
            let read: Replication = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        assert_eq!(Replication::default(), Replication::One);
        assert_eq!(Replication::All.among(4), (4, 4));
        assert_eq!("2/3".parse::<Replication>().unwrap().among(9), (2, 3));
    }

    #[test]
    fn two_outcomes_can_never_both_have_enough() {
        use ParseReplicationError as E;
        let refusal = |text: &str| text.parse::<Replication>().unwrap_err();
        for text in ["", "two", "2", "/", "2/", "02/3", "+2/3", "-1/3", "2/3/4"] {
            assert!(matches!(refusal(text), E::Form(_)), "{text}");
        }
        for text in ["1/2", "2/4", "4/3"] {
            assert!(matches!(refusal(text), E::Majority { .. }), "{text}");
        }
        for text in ["1/1", "9/17"] {
            assert!(matches!(refusal(text), E::Nodes { .. }), "{text}");
        }
    }
}
