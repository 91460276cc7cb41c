//! The ways into a fabric: a ticket, or the votes of its validators.

use std::net::SocketAddr;
use std::str::FromStr;

use trust::{ParseTicketError, Ticket};
use types::FabricId;

/// A way into a fabric.
#[derive(Debug)]
pub enum Entrance {
    /// Somebody gave this machine a ticket.
    Ticket(Ticket),
    /// The validators will vote for it, once they know its id.
    Vote {
        /// The fabric to join.
        fabric: FabricId,
        /// Where members listen; they are looked for on the local network if none.
        addresses: Vec<SocketAddr>,
    },
}

/// A text that names no way into a fabric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseEntranceError {
    /// Neither of the two.
    #[error(transparent)]
    Ticket(#[from] ParseTicketError),
    /// A fabric without a place, or the other way around.
    #[error(
        "expected a ticket, FABRIC@IP:PORT, or FABRIC alone if a member is on the local network, with \
         the fabric's id as `nexus node status` shows it"
    )]
    Address,
}

impl Entrance {
    /// The fabric that it leads to.
    #[must_use]
    pub const fn fabric(&self) -> FabricId {
        match self {
            Self::Ticket(ticket) => ticket.fabric,
            Self::Vote { fabric, .. } => *fabric,
        }
    }

    /// Where members listen.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        match self {
            Self::Ticket(ticket) => &ticket.addresses,
            Self::Vote { addresses, .. } => addresses,
        }
    }

    /// For how many seconds it has been over, if it is, at `now_s` (Unix seconds).
    pub(crate) fn over_for_s(&self, now_s: u64) -> Option<u64> {
        match self {
            Self::Ticket(ticket) => now_s
                .checked_sub(u64::from(ticket.expires_at_s))
                .filter(|seconds| *seconds > 0),
            Self::Vote { .. } => None,
        }
    }
}

impl FromStr for Entrance {
    type Err = ParseEntranceError;

    /// A ticket, `FABRIC@IP:PORT[,IP:PORT…]`, or `FABRIC`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((fabric, addresses)) = text.split_once('@') else {
            return match text.parse() {
                Ok(fabric) => Ok(Self::Vote {
                    fabric,
                    addresses: Vec::new(),
                }),
                Err(_) => Ok(Self::Ticket(text.parse()?)),
            };
        };
        let fabric = fabric.parse().map_err(|_| ParseEntranceError::Address)?;
        let addresses: Result<Vec<_>, _> = addresses.split(',').map(str::parse).collect();
        let addresses = addresses.map_err(|_| ParseEntranceError::Address)?;
        Ok(Self::Vote { fabric, addresses })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_ticket_or_a_place() {
        let fabric = FabricId::of(b"fabric");
        let vote: Entrance = format!("{fabric}@192.0.2.1:7400").parse().unwrap();
        assert_eq!(vote.fabric(), fabric);
        assert_eq!(vote.addresses().len(), 1);
        assert_eq!(vote.over_for_s(u64::MAX), None);
        let lan: Entrance = fabric.to_string().parse().unwrap();
        assert_eq!(lan.fabric(), fabric);
        assert!(lan.addresses().is_empty());
        let ticket = Ticket::generate(fabric, vec![], 100).unwrap();
        let ticket: Entrance = ticket.to_string().parse().unwrap();
        assert_eq!(ticket.fabric(), fabric);
        assert_eq!(ticket.over_for_s(100), None);
        assert_eq!(ticket.over_for_s(107), Some(7));
        for bad in [
            "",
            "x",
            "@",
            "fabric@192.0.2.1:1",
            &format!("{fabric}@here"),
        ] {
            assert!(bad.parse::<Entrance>().is_err(), "{bad}");
        }
    }
}
