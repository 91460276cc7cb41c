//! Names of state entries. One entry, one key, one place that spells it.

use std::fmt;

use types::{Name, NodeId, Principal, Route};

/// The name of one entry of the ledger's state.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey(Vec<u8>);

/// Bytes that cannot name an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a state key has 1 to {max} bytes, not {bytes}", max = StateKey::BYTES_MAX)]
pub struct StateKeyError {
    bytes: usize,
}

impl StateKey {
    /// Longest key: a route of a 253-byte host and a 256-byte path fits.
    pub const BYTES_MAX: usize = 640;

    /// Takes a key back from storage.
    ///
    /// # Errors
    /// [`StateKeyError`] if `bytes` is empty or too long.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, StateKeyError> {
        if (1..=Self::BYTES_MAX).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(StateKeyError { bytes: bytes.len() })
        }
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The workload that this entry is of, if it is a deployment or a placement.
    #[must_use]
    pub fn workload(&self) -> Option<Name> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let mut parts = text.split('/');
        match parts.next()? {
            "deployment" | "placement" => Name::new(parts.next()?).ok(),
            _ => None,
        }
    }

    fn text(text: String) -> Self {
        debug_assert!((1..=Self::BYTES_MAX).contains(&text.len()), "{text}");
        Self(text.into_bytes())
    }

    /// The least key that can begin with `prefix`.
    pub(crate) fn prefix(prefix: &str) -> Self {
        Self::text(prefix.to_owned())
    }

    /// The fabric itself: [`crate::FabricRecord`].
    #[must_use]
    pub fn fabric() -> Self {
        Self::text("fabric".to_owned())
    }

    /// A signer: [`crate::PrincipalRecord`].
    #[must_use]
    pub fn principal(principal: &Principal) -> Self {
        Self::text(format!("principal/{principal}"))
    }

    /// A member node: [`crate::NodeRecord`].
    #[must_use]
    pub fn node(node: &NodeId) -> Self {
        Self::text(format!("node/{node}"))
    }

    /// A deployment: [`crate::DeploymentRecord`].
    #[must_use]
    pub fn deployment(workload: &Name) -> Self {
        Self::text(format!("deployment/{workload}"))
    }

    /// One placed replica: [`crate::PlacementRecord`].
    #[must_use]
    pub fn placement(workload: &Name, component: &Name, index: u16) -> Self {
        Self::text(format!("placement/{workload}/{component}/{index:05}"))
    }

    /// A route taken by a component: [`crate::RouteRecord`].
    #[must_use]
    pub fn route(route: &Route) -> Self {
        Self::text(format!("route/{}{}", route.host(), route.path()))
    }
}

impl fmt::Display for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
