//! Whether a component's imports are offered and granted, said before anything runs. Knows names
//! and versions; whether the functions' types fit is the linker's business.

use std::fmt;

use types::{ComponentKind, ComponentSpec};

use crate::capability::{Package, packages};
use crate::inspect::{ImportName, Inspection};

/// An interface that guests can be linked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// `wasi:http`.
    pub package: &'static str,
    /// `outgoing-handler`.
    pub interface: &'static str,
    /// `0.2.12`.
    pub version: &'static str,
    /// Whether the manifest must grant it.
    pub needs_grant: bool,
}

/// Why an import cannot be satisfied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportRefusal {
    /// No such interface here, in any version.
    #[error("import `{import}`: no such interface is offered")]
    Unknown {
        /// As the binary writes it.
        import: ImportName,
    },
    /// The interface is here in a version that cannot stand in for the wanted one.
    #[error(
        "import `{import}`: version {wanted} is wanted, {offered} is offered; rebuild against what is offered"
    )]
    Version {
        /// As the binary writes it.
        import: ImportName,
        /// What it wants.
        wanted: String,
        /// What there is.
        offered: String,
    },
    /// The interface is here, the right to it is not.
    #[error("import `{import}` is not granted: add `{line}` to the component in the manifest")]
    NotGranted {
        /// As the binary writes it.
        import: ImportName,
        /// The manifest line that grants it.
        line: &'static str,
    },
    /// A deterministic component whose input comes in pieces that depend on the network.
    #[error(
        "`deterministic_seed` is for libraries and commands: in which pieces a request comes to an http component cannot be repeated"
    )]
    HttpNotRepeatable,
    /// A deterministic component that imports concurrency.
    #[error(
        "import `{import}` is of WASI 0.3, where the order of events cannot be repeated: remove `deterministic_seed` from the manifest, or build the component for WASI 0.2"
    )]
    ConcurrentNotRepeatable {
        /// As the binary writes it.
        import: ImportName,
    },
    /// The interface reaches outside the component, whose results must be repeatable.
    #[error(
        "import `{import}` reaches beyond the component, so its results could not be repeated: remove `deterministic_seed` from the manifest, or the import from the component"
    )]
    NotRepeatable {
        /// As the binary writes it.
        import: ImportName,
    },
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.package, self.interface, self.version)
    }
}

/// Everything that guests can be linked to.
pub fn offered_interfaces() -> impl Iterator<Item = Offer> {
    packages().flat_map(|package| {
        package.interfaces.iter().map(|interface| Offer {
            package: package.name,
            interface,
            version: package.version,
            needs_grant: package
                .grant
                .as_ref()
                .is_some_and(|grant| grant.interfaces.contains(interface)),
        })
    })
}

pub(crate) fn check(
    inspection: &Inspection,
    spec: &ComponentSpec,
) -> Result<(), Vec<ImportRefusal>> {
    let streams = inspection.kind == ComponentKind::Http && spec.deterministic_seed.is_some();
    let streams = streams.then_some(ImportRefusal::HttpNotRepeatable);
    let imports = inspection.imports.iter();
    let refusals: Vec<_> = streams
        .into_iter()
        .chain(imports.filter_map(|import| refusal(import, spec)))
        .collect();
    if refusals.is_empty() {
        Ok(())
    } else {
        Err(refusals)
    }
}

fn refusal(import: &ImportName, spec: &ComponentSpec) -> Option<ImportRefusal> {
    let import = import.clone();
    let (name, interface) = import.interface().split_once('/').unwrap_or_default();
    let wanted = import.version().unwrap_or("none");
    let offers: Vec<&Package> = packages()
        .filter(|package| package.name == name && package.interfaces.contains(&interface))
        .collect();
    if offers.is_empty() {
        return Some(ImportRefusal::Unknown { import });
    }
    let Some(package) = offers.iter().find(|offer| stands_in(wanted, offer.version)) else {
        let versions: Vec<_> = offers.iter().map(|offer| offer.version).collect();
        let (wanted, offered) = (wanted.to_owned(), versions.join(" or "));
        return Some(ImportRefusal::Version {
            import,
            wanted,
            offered,
        });
    };
    if spec.deterministic_seed.is_some() && package.version.starts_with("0.3.") {
        return Some(ImportRefusal::ConcurrentNotRepeatable { import });
    }
    let grant = package.grant.as_ref()?;
    if spec.deterministic_seed.is_some() && grant.interfaces.contains(&interface) {
        return Some(ImportRefusal::NotRepeatable { import });
    }
    let granted =
        !grant.interfaces.contains(&interface) || spec.capabilities.iter().any(grant.covers);
    let line = grant.line;
    (!granted).then_some(ImportRefusal::NotGranted { import, line })
}

/// The linker's rule: equal, or of one compatible line (equal major; below 1.0 equal minor), in
/// either direction. Pre-releases and 0.0.x stand in for nothing else.
fn stands_in(wanted: &str, offered: &str) -> bool {
    let line = |version: &str| {
        let version = version
            .split_once('+')
            .map_or(version, |(version, _)| version);
        let mut numbers = version.split('.').map(str::parse::<u64>);
        match (
            numbers.next(),
            numbers.next(),
            numbers.next(),
            numbers.next(),
        ) {
            (Some(Ok(0)), Some(Ok(minor)), Some(Ok(_)), None) if minor > 0 => Some((0, minor)),
            (Some(Ok(major)), Some(Ok(_)), Some(Ok(_)), None) if major > 0 => Some((major, 0)),
            _ => None,
        }
    };
    wanted == offered || line(wanted).is_some_and(|wanted| line(offered) == Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_in_as_the_linker_has_it() {
        for (wanted, offered) in [
            ("0.2.0", "0.2.12"),
            ("0.2.99", "0.2.12"),
            ("1.4.0", "1.2.3"),
            ("0.2.1+build", "0.2.12"),
            ("0.2.0-rc.1", "0.2.0-rc.1"),
        ] {
            assert!(stands_in(wanted, offered), "{wanted} {offered}");
        }
        for (wanted, offered) in [
            ("0.3.0", "0.2.12"),
            ("0.2.0-rc.2", "0.2.0-rc.1"),
            ("0.2.0-rc.1", "0.2.12"),
            ("0.0.1", "0.0.2"),
            ("2.0.0", "1.0.0"),
            ("none", "0.2.12"),
            ("", "0.2.12"),
        ] {
            assert!(!stands_in(wanted, offered), "{wanted} {offered}");
        }
    }
}
