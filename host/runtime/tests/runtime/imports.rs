//! Imports: what is offered really links, and what is not is refused by name.

use hypermesh_runtime::{ImportRefusal, StartReplicaError, offered_interfaces};
use types::{Capability, ComponentKind, ComponentSpec, Digest};

use crate::harness::{assemble, guest, runtime, spec, try_start};

fn importing(names: &[&str]) -> Vec<u8> {
    let imports: String = names
        .iter()
        .map(|name| format!("(import \"{name}\" (instance))\n"))
        .collect();
    assemble(&format!("(component {imports})"))
}

fn library() -> ComponentSpec {
    spec(ComponentKind::Library, Digest::of(b""))
}

fn outgoing() -> Capability {
    Capability::HttpOutgoing {
        allow: vec!["example.com".parse().unwrap()],
    }
}

fn refusals(names: &[&str], spec: &ComponentSpec) -> Vec<ImportRefusal> {
    let runtime = runtime();
    let inspection = runtime.inspect(&importing(names)).unwrap();
    runtime
        .check_imports(&inspection, spec)
        .err()
        .unwrap_or_default()
}

#[tokio::test]
async fn every_offered_interface_links() {
    let names: Vec<String> = offered_interfaces()
        .map(|offer| offer.to_string())
        .collect();
    assert!(
        names
            .iter()
            .any(|name| name == "wasi:http/outgoing-handler@0.2.12")
    );
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let topics = vec!["orders".parse().unwrap()];
    let quota = types::ByteSize::mib(1);
    let granted = |spec: &mut ComponentSpec| {
        spec.capabilities = vec![
            outgoing(),
            Capability::Publish { topics },
            Capability::Keyvalue { quota },
            Capability::Blobstore { quota },
            Capability::Consensus { records: 1 },
            Capability::Memory { quota },
            Capability::Storage { quota },
            Capability::Cpu { millicores: 1 },
            Capability::Network { rate: quota },
        ];
    };
    try_start(&runtime(), importing(&names), Vec::new(), granted)
        .await
        .unwrap();
}

#[test]
fn the_readme_lists_what_is_offered_and_nothing_else() {
    let readme = include_str!("../../../../README.md");
    let table: Vec<(&str, Vec<&str>)> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter(|row| row.starts_with("wasi:") || row.starts_with("hypermesh:"))
        .filter_map(|row| {
            let mut cells = row.split(" | ");
            let name = cells.next()?.trim_end_matches('`');
            Some((name, cells.next()?.split(", ").collect()))
        })
        .collect();
    let listed = |package: &str, version: &str| {
        table
            .iter()
            .any(|(name, versions)| package == *name && versions.contains(&version))
    };
    for offer in offered_interfaces() {
        assert!(
            listed(offer.package, offer.version),
            "{offer} is not listed"
        );
    }
    for (name, versions) in &table {
        for version in versions {
            let offered = |offer: hypermesh_runtime::Offer| {
                offer.package == *name && offer.version == *version
            };
            assert!(offered_interfaces().any(offered), "{name}@{version}");
        }
    }
}

#[test]
fn older_and_newer_releases_of_one_line_are_accepted() {
    let names = ["wasi:cli/environment@0.2.0", "wasi:io/streams@0.2.99"];
    assert_eq!(refusals(&names, &library()), []);
}

#[test]
fn every_import_that_cannot_be_had_is_named_with_what_to_do() {
    let names = [
        "wasi:clocks/wall-clock@0.2.0",
        "wasi:http/outgoing-handler@0.2.3",
        "wasi:http/types@0.4.0",
        "wasi:webgpu/webgpu@0.0.1",
        "wasi:messaging/producer@0.2.0-draft",
    ];
    let texts: Vec<String> = refusals(&names, &library())
        .iter()
        .map(ToString::to_string)
        .collect();
    let [denied, version, unknown, publish] = texts.as_slice() else {
        panic!("{texts:?}")
    };
    assert!(
        denied.contains("`wasi:http/outgoing-handler@0.2.3` is not granted"),
        "{denied}"
    );
    assert!(denied.contains("capabilities.http_outgoing"), "{denied}");
    assert!(
        version.contains("version 0.4.0 is wanted, 0.2.12 or 0.3.0 is offered"),
        "{version}"
    );
    assert!(
        unknown.contains("`wasi:webgpu/webgpu@0.0.1`: no such interface"),
        "{unknown}"
    );
    assert!(publish.contains("capabilities.publish"), "{publish}");
    let spec = ComponentSpec {
        capabilities: vec![outgoing()],
        ..library()
    };
    assert_eq!(refusals(&["wasi:http/outgoing-handler@0.2.3"], &spec), []);
}

#[tokio::test]
async fn a_replica_without_the_grant_does_not_start() {
    let error = try_start(&runtime(), guest("outgoing"), Vec::new(), |_| {})
        .await
        .err()
        .unwrap();
    let StartReplicaError::Imports(refusals) = error else {
        panic!("{error}")
    };
    assert!(
        matches!(refusals.as_slice(), [ImportRefusal::NotGranted { .. }]),
        "{refusals:?}"
    );
}

#[tokio::test]
async fn a_function_that_the_interface_lacks_does_not_link() {
    let component = assemble(
        "(component (import \"wasi:cli/exit@0.2.0\" (instance (export \"vanish\" (func)))))",
    );
    let error = try_start(&runtime(), component, Vec::new(), |_| {})
        .await
        .err()
        .unwrap();
    let StartReplicaError::Link { reason } = error else {
        panic!("{error}")
    };
    assert!(reason.contains("vanish"), "{reason}");
}

#[test]
fn sockets_of_wasi_0_3_are_refused_by_name_whatever_is_granted() {
    for interface in ["types", "ip-name-lookup"] {
        let import = format!("wasi:sockets/{interface}@0.3.0");
        let mut spec = library();
        spec.capabilities = vec![Capability::Tcp {
            allow: vec!["example.com".parse().unwrap()],
        }];
        let found = refusals(&[&import], &spec);
        let [refusal] = &found[..] else {
            panic!("{found:?}")
        };
        let said = refusal.to_string();
        assert!(said.starts_with(&format!("import `{import}`: ")), "{said}");
    }
}
