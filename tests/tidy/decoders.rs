//! Every decoder has a fuzz target: functions that are named like one, and every `FromStr`.

use syn::visit::{self, Visit};

use crate::offence::Offence;
use crate::repository::SourceFile;

/// Where targets say what they cover.
const TARGETS: &str = "tests/fuzz/src/targets/";
/// Crates whose input is not hostile: the command line reads what its own user types.
const TRUSTING: &[&str] = &["host/nexus/"];
/// Decoders that a target reaches under the name of their caller, with that name.
const WITHIN: &[(&str, &str)] = &[
    ("Announcement::decode_fabric", "Announcement::decode"),
    ("Announcement::decode_rest", "Announcement::decode"),
    // Both decode what is in a block that was taken.
    ("LedgerApplication::decode", "SignedTransaction::decode"),
    ("Unsettled::decode", "SignedTransaction::decode"),
    ("Export::parse", "runtime::parse_wave"),
    ("ShardManifest::parse", "ShardManifest::decode"),
    ("Subject::parse", "PresentedCertificate::read"),
    ("types::parse", "ByteSize::from_str"),
];
/// Functions that are named like decoders and take nothing from outside.
const HARMLESS: &[&str] = &[
    // Makes pieces of pieces that were checked against their digests.
    "Coder::decode",
    // Names and facts that this node wrote in folders that only its user may write, split at fixed
    // places into types that are fuzzed.
    "DataDir::parse",
    "Part::parse",
    "consensus::parse_owner",
];

/// Decoders in `files` that no target names.
pub(crate) fn offences(files: &[SourceFile]) -> Vec<Offence> {
    let targets = files.iter().filter(|file| file.path.starts_with(TARGETS));
    let targets: String = targets.map(|file| file.text.as_str()).collect();
    let product = files.iter().filter(|file| {
        let inside = file.path.starts_with("host/") && file.path.contains("/src/");
        inside && file.is_rust() && !TRUSTING.iter().any(|folder| file.path.starts_with(folder))
    });
    product.flat_map(|file| uncovered(file, &targets)).collect()
}

fn uncovered(file: &SourceFile, targets: &str) -> Vec<Offence> {
    let Ok(parsed) = syn::parse_file(&file.text) else {
        // Another rule says so.
        return Vec::new();
    };
    let name = file.path.split('/').nth(1).unwrap_or_default();
    let mut found = Decoders {
        owner: name.to_owned(),
        labels: Vec::new(),
    };
    found.visit_file(&parsed);
    let covered = |label: &str| {
        if HARMLESS.contains(&label) {
            return true;
        }
        let within = WITHIN.iter().find(|(inner, _)| *inner == label);
        let label = within.map_or(label, |(_, outer)| outer);
        targets.contains(&format!("\"{label}\""))
    };
    let labels = found.labels.into_iter();
    labels
        .filter(|(label, _)| !covered(label))
        .map(|(label, line)| {
            let advice = format!("no fuzz target covers `{label}`: feed it in {TARGETS}");
            Offence::new(&file.path, line, advice)
        })
        .collect()
}

struct Decoders {
    /// The type whose methods are visited, or the crate.
    owner: String,
    labels: Vec<(String, usize)>,
}

impl Decoders {
    fn found(&mut self, name: &syn::Ident) {
        let label = format!("{}::{name}", self.owner);
        self.labels.push((label, name.span().start().line));
    }

    fn look(&mut self, signature: &syn::Signature) {
        let text = signature.ident.to_string();
        let alone = ["decode", "parse", "from_body", "read_cfg"].contains(&text.as_str());
        let takes_something = !signature.inputs.is_empty();
        if takes_something && (alone || text.starts_with("decode_") || text.starts_with("parse_")) {
            self.found(&signature.ident);
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => attribute.path().is_ident("test"),
    })
}

impl<'ast> Visit<'ast> for Decoders {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let syn::Type::Path(path) = &*item.self_ty else {
            return;
        };
        let last = path.path.segments.last();
        let owner = last.map_or(String::new(), |segment| segment.ident.to_string());
        let outer = std::mem::replace(&mut self.owner, owner);
        let of = item
            .trait_
            .as_ref()
            .and_then(|(path, _)| path.segments.last());
        let is_from_str = of.is_some_and(|segment| segment.ident == "FromStr");
        for inner in &item.items {
            match inner {
                syn::ImplItem::Fn(function) if is_from_str => self.found(&function.sig.ident),
                syn::ImplItem::Fn(function) => self.look(&function.sig),
                _ => {}
            }
        }
        self.owner = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_test(&item.attrs) {
            self.look(&item.sig);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(product: &str, target: &str) -> Vec<String> {
        let file = |path: &str, text: &str| SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let files = [
            file("host/trust/src/ticket.rs", product),
            file("tests/fuzz/src/targets/trust.rs", target),
        ];
        offences(&files).iter().map(Offence::to_string).collect()
    }

    #[test]
    fn a_decoder_without_a_target_is_found_and_one_with_a_target_is_not() {
        let product = "impl Seal { fn decode(b: &[u8]) {} }\nfn parse_seal(t: &str) {}\n\
                       impl FromStr for Seal { fn from_str(t: &str) {} }\n\
                       #[cfg(test)]\nmod tests { fn decode_again(b: &[u8]) {} }\n";
        let all = found(product, "");
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(all[0].contains("`Seal::decode`"), "{all:?}");
        assert!(all[1].contains("`trust::parse_seal`"), "{all:?}");
        let named = r#"covers: &["Seal::decode", "trust::parse_seal", "Seal::from_str"]"#;
        assert!(found(product, named).is_empty());
    }
}
