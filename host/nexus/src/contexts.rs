//! Contexts: nodes elsewhere that the user named, in `contexts.toml` of the configuration
//! directory. Never connects.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use types::{FabricId, Name, NodeId};

use crate::exit::{Exit, Failure, Outcome};
use crate::folders;

/// A node as a command line names it: `ID@IP:PORT[,IP:PORT…]`, or `ID@RELAY@IP:PORT[,IP:PORT…]` if
/// the member RELAY, which is there, relays for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeAddress {
    pub(crate) node: NodeId,
    pub(crate) relay: Option<NodeId>,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl FromStr for NodeAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected ID@IP:PORT, or ID@RELAY@IP:PORT through a member that relays, as \
                        `nexus stoq sessions` of that node shows it";
        let (nodes, addresses) = text.rsplit_once('@').ok_or(expected)?;
        let (node, relay) = match nodes.split_once('@') {
            Some((node, relay)) => (node, Some(relay)),
            None => (nodes, None),
        };
        let node = node.parse().map_err(|_| expected)?;
        let relay = relay.map(str::parse).transpose().map_err(|_| expected)?;
        let addresses = addresses.split(',').map(str::parse);
        let addresses = addresses.collect::<Result<_, _>>().map_err(|_| expected)?;
        Ok(Self {
            node,
            relay,
            addresses,
        })
    }
}

/// What `--node` takes: the name of a context, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeArg {
    Context(Name),
    Address(NodeAddress),
}

impl FromStr for NodeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('@') {
            return text.parse().map(Self::Address);
        }
        let name = text.parse::<Name>();
        name.map(Self::Context)
            .map_err(|error| format!("{error}; or name a node as ID@IP:PORT"))
    }
}

/// A node elsewhere, and the key to speak to it with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Its fabric.
    pub(crate) fabric: FabricId,
    /// The node; another one at the same address is not spoken to.
    pub(crate) node: NodeId,
    /// The member that relays for it, if it is not reached itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) relay: Option<NodeId>,
    /// Where it is, or the relay.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The operator's key file.
    pub(crate) key: PathBuf,
}

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The context of commands that name neither a node nor a data directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<Name>,
    /// By name.
    #[serde(default)]
    pub(crate) context: BTreeMap<Name, Context>,
}

impl Contexts {
    /// Reads the file; none at all is an empty one.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be read or understood.
    pub(crate) fn load() -> Outcome<Self> {
        // Who has no place for contexts has none.
        let Ok(path) = file() else {
            return Ok(Self::default());
        };
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(folders::failed("read", &path, &error)),
            Ok(text) => toml::from_str(&text).map_err(|error| {
                let message = format!("{} is not understood: {error}", path.display());
                Failure::new(Exit::Failed, message)
            }),
        }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be written.
    pub(crate) fn store(&self) -> Outcome {
        let path = file()?;
        let text = toml::to_string_pretty(self).map_err(|error| {
            Failure::new(Exit::Failed, format!("contexts cannot be written: {error}"))
        })?;
        folders::replace(&path, text.as_bytes())
    }

    /// The context of that name.
    ///
    /// # Errors
    /// [`Failure`] if there is none; it names those that are there.
    pub(crate) fn named(&self, name: &Name) -> Outcome<&Context> {
        self.context.get(name).ok_or_else(|| {
            let known: Vec<_> = self.context.keys().map(Name::as_str).collect();
            let message = match known.as_slice() {
                [] => format!("there is no context `{name}`: add one with `nexus context add`"),
                known => format!("there is no context `{name}`, only {}", known.join(", ")),
            };
            Failure::new(Exit::NotFound, message)
        })
    }
}

fn file() -> Outcome<PathBuf> {
    Ok(folders::config()?.join("contexts.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_a_context_or_an_address() {
        let id = "ab".repeat(32);
        let two: NodeArg = format!("{id}@192.0.2.1:7400,[2001:db8::1]:7400")
            .parse()
            .unwrap();
        let NodeArg::Address(address) = two else {
            panic!("{two:?}");
        };
        assert_eq!(address.addresses.len(), 2);
        assert_eq!(address.relay, None);
        let through: NodeAddress = format!("{id}@{}@192.0.2.1:7400", "cd".repeat(32))
            .parse()
            .unwrap();
        assert_eq!(through.node, address.node);
        assert_eq!(through.relay, "cd".repeat(32).parse().ok());
        assert_eq!(through.addresses, address.addresses[..1]);
        assert_eq!(
            "prod".parse(),
            Ok(NodeArg::Context(Name::new("prod").unwrap()))
        );
        for bad in [
            "",
            "@",
            "ab@192.0.2.1:1",
            &format!("{id}@192.0.2.1"),
            &format!("{id}@ab@192.0.2.1:1"),
            &format!("{id}@{id}@{id}@192.0.2.1:1"),
            "Prod",
        ] {
            assert!(bad.parse::<NodeArg>().is_err(), "{bad}");
        }
    }
}
