//! What people write: manifests, names, units, arguments of calls.

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::sync::OnceLock;

use node::{AcmeName, Directory};
use runtime::fuzz::WaveTypes;
use types::{
    AssetAddress, AssetFacts, AssetId, AssetType, ByteSize, CpuFacts, Digest, FactText, GpuFacts,
    GuestPath, HostPattern, LeaseId, Manifest, MemoryFacts, Millis, Name, Privacy, PublicKey,
    Replication, Route, Topic,
};

use crate::Target;
use crate::targets::{chosen, texts};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "types_manifest",
        covers: &["Manifest::parse"],
        run: manifest,
        seeds: || texts(&[MANIFEST]),
    },
    Target {
        name: "types_words",
        covers: &[
            "AssetAddress::from_str",
            "AssetId::from_str",
            "LeaseId::from_str",
            "AssetType::from_str",
            "ByteSize::from_str",
            "Digest::from_str",
            "FactText::from_str",
            "GuestPath::from_str",
            "HostPattern::from_str",
            "Millis::from_str",
            "Name::from_str",
            "Privacy::from_str",
            "PublicKey::from_str",
            "Replication::from_str",
            "Topic::from_str",
            "AcmeName::from_str",
            "Directory::from_str",
        ],
        run: words,
        seeds: some_words,
    },
    Target {
        name: "types_asset_facts",
        covers: &["AssetFacts::decode"],
        run: facts,
        seeds: some_facts,
    },
    Target {
        name: "runtime_wave",
        covers: &["runtime::parse_wave"],
        run: wave,
        seeds: waves,
    },
];

const MANIFEST: &str = r#"
name = "shop"
[[component]]
name = "api"
wasm = "api.wasm"
replicas = 2
routes = ["shop.example/api"]
[component.limits]
memory = "64 MiB"
wall_time = "5 s"
[component.capabilities]
http = ["*.example.com"]
"#;

fn manifest(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Manifest::parse("hypermesh.toml", text);
    }
}

/// A word that was read is written so that it reads as the same.
fn again<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) {
    if let Ok(word) = text.parse::<T>() {
        let written = word.to_string();
        assert_eq!(
            written.parse::<T>().as_ref().ok(),
            Some(&word),
            "{text:?}: {written:?}"
        );
    }
}

fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    again::<AssetAddress>(text);
    again::<AssetId>(text);
    again::<LeaseId>(text);
    again::<AssetType>(text);
    again::<ByteSize>(text);
    again::<Digest>(text);
    again::<FactText>(text);
    let _ = text.parse::<GuestPath>();
    again::<HostPattern>(text);
    again::<Millis>(text);
    again::<Name>(text);
    again::<Privacy>(text);
    again::<PublicKey>(text);
    again::<Replication>(text);
    again::<Topic>(text);
    again::<AcmeName>(text);
    again::<Directory>(text);
    if let Some((host, path)) = text.split_once(' ') {
        let _ = Route::new(host, path);
    }
}

fn some_words() -> Vec<Vec<u8>> {
    let digest = Digest::from_bytes([0xab; 32]).to_string();
    let key = PublicKey::from_bytes([9; 32]).to_string();
    let asset = AssetId::from_parts(AssetType::Gpu, Digest::from_bytes([0xab; 32])).to_string();
    let lease = LeaseId::from_digest(Digest::from_bytes([0xcd; 32])).to_string();
    let address = AssetAddress {
        fabric: Digest::from_bytes([1; 32]),
        node: PublicKey::from_bytes([9; 32]),
        asset: AssetId::from_parts(AssetType::Memory, Digest::from_bytes([0xab; 32])),
    };
    texts(&[
        &address.to_string(),
        &asset,
        &lease,
        "private-network",
        "2/3",
        "NVIDIA H100",
        "64 MiB",
        "18446744073709551615",
        "1500 ms",
        "2 s",
        "shop-1",
        "a/b/c",
        "*.example.org",
        "https://a.example/dir",
        "a.example /x",
        &digest,
        &key,
    ])
}

/// Facts that were read are written as they came.
fn facts(bytes: &[u8]) {
    if let Ok(facts) = AssetFacts::decode(bytes) {
        assert_eq!(facts.encode(), bytes, "{facts:?}");
    }
}

fn some_facts() -> Vec<Vec<u8>> {
    let text = |text| FactText::new(text).expect("printable");
    let cpu = AssetFacts::Cpu(CpuFacts {
        cores_milli: 2_000,
        calibrated: 500,
        architecture: text("x86_64"),
    });
    let gpu = AssetFacts::Gpu(GpuFacts {
        vendor: text("NVIDIA"),
        model: text("H100"),
        memory_bytes: 80 << 30,
        uuid: text("GPU-1"),
    });
    let memory = AssetFacts::Memory(MemoryFacts { bytes: 1 << 33 });
    vec![cpu.encode(), gpu.encode(), memory.encode()]
}

/// A function with an argument of every shape that WAVE writes.
const TYPES: &str = r#"(component
  (core module $m (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
    (func (export "f") (param i32)))
  (core instance $i (instantiate $m))
  (type $r' (record (field "a" u8) (field "b" string) (field "c" (option f64))))
  (export $r "r" (type $r'))
  (type $v' (variant (case "x") (case "y" (list u16))))
  (export $v "v" (type $v'))
  (type $e' (enum "one" "two"))
  (export $e "e" (type $e'))
  (type $g' (flags "p" "q"))
  (export $g "g" (type $g'))
  (func (export "f")
    (param "a" $r) (param "b" (list $v)) (param "c" (tuple s64 char bool f32)) (param "d" $e)
    (param "e" $g) (param "f" (result u32 (error string))) (param "g" (list (list (list string))))
    (canon lift (core func $i "f") (memory $i "memory") (realloc (func $i "realloc")))))"#;

fn wave_types() -> &'static WaveTypes {
    static WAVE: OnceLock<WaveTypes> = OnceLock::new();
    WAVE.get_or_init(|| {
        let component = wat::parse_str(TYPES).expect("the text is a component");
        WaveTypes::of(&component).expect("the component has one function")
    })
}

/// The first byte chooses the argument.
fn wave(bytes: &[u8]) {
    let (choice, text) = chosen(bytes);
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let types = wave_types();
    if let Some(written) = types.rewritten(usize::from(choice), text) {
        let again = types.rewritten(usize::from(choice), &written);
        assert_eq!(again.as_ref(), Some(&written), "{text:?}");
    }
}

fn waves() -> Vec<Vec<u8>> {
    let seed = |choice: u8, text: &str| [&[choice], text.as_bytes()].concat();
    vec![
        seed(0, r#"{a: 1, b: "x\n\u{41}", c: some(1.5)}"#),
        seed(1, "[x, y([1, 2])]"),
        seed(2, "(-5, 'c', true, nan)"),
        seed(3, "two"),
        seed(4, "{p, q}"),
        seed(5, "err(\"no\")"),
        seed(6, r#"[[["a"], []], []]"#),
    ]
}
