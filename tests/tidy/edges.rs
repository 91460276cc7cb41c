//! Who may import whom. A new crate gets a row; a new edge needs a reason, in the design first.

use serde_json::Value;

use crate::offence::Offence;

/// One crate of ours and the crates of ours that it may import, in any kind of dependency.
struct Row {
    name: &'static str,
    may_import: &'static [&'static str],
}

const fn row(name: &'static str, may_import: &'static [&'static str]) -> Row {
    Row { name, may_import }
}

const PREFIX: &str = "hypermesh-";

/// The table. Names are short: `types` is `hypermesh-types`.
const TABLE: &[Row] = &[
    row("types", &[]),
    row("proofs", &["types"]),
    row("ledger", &["types", "proofs"]),
    row("stoq", &["types"]),
    row("trust", &["types"]),
    row("discovery", &["types", "trust"]),
    row("storage", &["types"]),
    row("transfer", &["types", "storage", "stoq"]),
    row("consensus", &["types", "ledger", "stoq"]),
    row("runtime", &["types"]),
    row("assets", &["types", "storage", "stoq"]),
    row("catalog", &["types", "storage", "stoq"]),
    row("orchestrator", &["types", "ledger"]),
    row("monitor", &["types"]),
    row("admin", &["types"]),
    row("node", EVERY_PART),
    row("sim", WITH_NODE),
    row(
        "nexus",
        &[
            "types", "trust", "proofs", "ledger", "admin", "assets", "node",
        ],
    ),
    row("tests", WITH_NODE),
    row("fuzz", WITH_NODE),
    row("benches", WITH_NODE),
    row("xtask", &[]),
];

const EVERY_PART: &[&str] = &[
    "types",
    "proofs",
    "ledger",
    "stoq",
    "trust",
    "discovery",
    "storage",
    "transfer",
    "consensus",
    "runtime",
    "assets",
    "catalog",
    "orchestrator",
    "monitor",
    "admin",
];

/// Every part and the node that joins them: for what drives whole nodes.
const WITH_NODE: &[&str] = &[
    "types",
    "proofs",
    "ledger",
    "stoq",
    "trust",
    "discovery",
    "storage",
    "transfer",
    "consensus",
    "runtime",
    "assets",
    "catalog",
    "orchestrator",
    "monitor",
    "admin",
    "node",
];

/// Crates of others that only some of ours may import, in any kind of dependency.
const RESERVED: &[(&str, &[&str])] = &[
    ("wasmtime*", &["runtime", "benches"]),
    ("commonware-*", &["consensus"]),
];

/// Crates of ours that are free of I/O and of time, and what they therefore never import.
const PURE: &[&str] = &["types", "proofs", "ledger", "orchestrator"];
const IMPURE: &[&str] = &[
    "tokio*",
    "wasmtime*",
    "hyper",
    "hyper-*",
    "axum",
    "quinn*",
    "commonware-*",
];

/// Features for tests only: what they build must never be part of a program that somebody installs.
const FOR_TESTS: &[&str] = &["equivocator", "unreleased-rules"];

/// Compares the packages of `cargo metadata` with the table.
pub(crate) fn offences(metadata: &Value) -> Vec<Offence> {
    let packages = metadata.get("packages").and_then(Value::as_array);
    let root = text(metadata, "workspace_root");
    packages
        .into_iter()
        .flatten()
        .flat_map(|package| package_offences(package, root))
        .collect()
}

fn package_offences(package: &Value, root: &str) -> Vec<Offence> {
    let name = short(text(package, "name"));
    let manifest = text(package, "manifest_path");
    let manifest = manifest.strip_prefix(root).unwrap_or(manifest);
    let manifest = manifest.trim_start_matches('/');
    let Some(row) = TABLE.iter().find(|row| row.name == name) else {
        let advice = format!("`{name}` is not in the table of tests/tidy/edges.rs: give it a row");
        return vec![Offence::new(manifest, 0, advice)];
    };
    let dependencies = package.get("dependencies").and_then(Value::as_array);
    dependencies
        .into_iter()
        .flatten()
        .filter_map(|dependency| edge_problem(row, dependency))
        .map(|advice| Offence::new(manifest, 0, advice))
        .collect()
}

/// What is wrong with one dependency of the crate of `row`.
fn edge_problem(row: &Row, dependency: &Value) -> Option<String> {
    let from = row.name;
    let to = text(dependency, "name");
    let kind = text(dependency, "kind");
    let kind = if kind.is_empty() { "normal" } else { kind };
    let features = dependency.get("features").and_then(Value::as_array);
    let mut features = features.into_iter().flatten().filter_map(Value::as_str);
    if kind != "dev"
        && let Some(feature) = features.find(|feature| FOR_TESTS.contains(feature))
    {
        return Some(format!(
            "`{from}` may not ask `{to}` for `{feature}` ({kind} dependency): only tests may"
        ));
    }
    let is_ours = dependency.get("path").is_some_and(Value::is_string);
    if is_ours {
        let to = short(to);
        // Itself only for its tests: cargo refuses any other circle.
        let allowed = to == from || row.may_import.contains(&to);
        return (!allowed)
            .then(|| format!("`{from}` may not import `{to}` ({kind} dependency): remove it"));
    }
    if let Some((pattern, owners)) = RESERVED.iter().find(|(pattern, _)| matches(pattern, to))
        && !owners.contains(&from)
    {
        return Some(format!(
            "`{from}` may not import `{to}`: {pattern} is for {}; go through their types",
            owners.join(" and ")
        ));
    }
    let is_normal = kind == "normal";
    let impure = IMPURE.iter().any(|pattern| matches(pattern, to));
    (is_normal && impure && PURE.contains(&from)).then(|| {
        format!("`{from}` is pure and may not import `{to}`: take its results as arguments")
    })
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

fn short(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(package: &str, dependencies: &[Value]) -> Vec<String> {
        let package = json!({
            "name": package,
            "manifest_path": "/r/a/Cargo.toml",
            "dependencies": dependencies,
        });
        let metadata = json!({"workspace_root": "/r", "packages": [package]});
        offences(&metadata).iter().map(Offence::to_string).collect()
    }

    fn ours(name: &str) -> Value {
        json!({"name": name, "path": "somewhere", "kind": null})
    }

    fn theirs(name: &str, kind: Option<&str>) -> Value {
        json!({"name": name, "path": null, "kind": kind})
    }

    #[test]
    fn edge_outside_the_table_is_an_offence() {
        assert!(problems("hypermesh-ledger", &[ours("hypermesh-types")]).is_empty());
        let found = problems("hypermesh-ledger", &[ours("hypermesh-node")]);
        assert_eq!(
            found,
            ["a/Cargo.toml: `ledger` may not import `node` (normal dependency): remove it"]
        );
        assert_eq!(problems("hypermesh-node", &[ours("nexus")]).len(), 1);
    }

    #[test]
    fn edge_for_tests_only_counts_too() {
        let dev = json!({"name": "hypermesh-node", "path": "somewhere", "kind": "dev"});
        assert_eq!(problems("hypermesh-runtime", &[dev]).len(), 1);
    }

    #[test]
    fn unknown_crate_is_an_offence() {
        let found = problems("hypermesh-gossip", &[]);
        assert!(
            found[0].contains("`gossip` is not in the table"),
            "{found:?}"
        );
    }

    #[test]
    fn reserved_crates_stay_with_their_owners() {
        assert!(problems("hypermesh-runtime", &[theirs("wasmtime-wasi", None)]).is_empty());
        assert!(problems("hypermesh-consensus", &[theirs("commonware-p2p", None)]).is_empty());
        let found = problems("hypermesh-node", &[theirs("wasmtime", Some("dev"))]);
        assert!(
            found[0].contains("wasmtime* is for runtime and benches"),
            "{found:?}"
        );
        assert_eq!(
            problems("hypermesh-consensus", &[theirs("wasmtime-wasi", None)]).len(),
            1
        );
        assert_eq!(
            problems("hypermesh-stoq", &[theirs("commonware-codec", None)]).len(),
            1
        );
    }

    #[test]
    fn pure_crates_import_no_io() {
        for name in ["tokio", "hyper-util", "axum", "quinn"] {
            assert_eq!(
                problems("hypermesh-types", &[theirs(name, None)]).len(),
                1,
                "{name}"
            );
        }
        assert!(problems("hypermesh-types", &[theirs("tokio", Some("dev"))]).is_empty());
        assert!(problems("hypermesh-types", &[theirs("serde", None)]).is_empty());
    }

    #[test]
    fn what_is_for_tests_is_asked_for_by_tests_only() {
        let asking = |kind: Option<&str>| {
            json!({
                "name": "hypermesh-node",
                "path": "somewhere",
                "kind": kind,
                "features": ["equivocator"],
            })
        };
        assert!(problems("nexus", &[asking(Some("dev"))]).is_empty());
        for kind in [None, Some("build")] {
            let found = problems("nexus", &[asking(kind)]);
            assert!(found[0].contains("only tests may"), "{found:?}");
        }
    }

    #[test]
    fn table_names_only_crates_of_the_table() {
        let known = |name: &str| TABLE.iter().any(|row| row.name == name);
        for row in TABLE {
            assert!(
                row.may_import.iter().all(|name| known(name)),
                "{}",
                row.name
            );
            assert!(
                !row.may_import.contains(&row.name),
                "{} imports itself",
                row.name
            );
        }
    }
}
