//! What identities show: certificates, tickets, and the file that keeps a certificate.

use std::cell::OnceCell;
use std::net::SocketAddr;

use node::Entrance;
use tempfile::TempDir;
use trust::{CERTIFICATE_BYTES_MAX, IssuedCertificate, PresentedCertificate, SecretKey, Ticket};
use types::FabricId;

use crate::Target;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "trust_certificate",
        covers: &["PresentedCertificate::read"],
        run: certificate,
        seeds: certificates,
    },
    Target {
        name: "trust_certificate_file",
        covers: &["IssuedCertificate::load"],
        run: certificate_file,
        seeds: certificate_files,
    },
    Target {
        name: "trust_ticket",
        covers: &["Ticket::from_str", "Entrance::from_str"],
        run: ticket,
        seeds: tickets,
    },
];

const FABRIC: FabricId = FabricId::from_bytes([5; 32]);
/// 2027, so that the dates have the usual form.
const NOW_MS: u64 = 1_800_000_000_000;

fn issued() -> Vec<IssuedCertificate> {
    let key = SecretKey::from_seed(&[3; 32]);
    let issue = |is_node| IssuedCertificate::issue(&key, &FABRIC, is_node, NOW_MS);
    [true, false]
        .into_iter()
        .filter_map(|is_node| issue(is_node).ok())
        .collect()
}

fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = PresentedCertificate::read(bytes) {
        assert!(bytes.len() <= CERTIFICATE_BYTES_MAX);
        assert!(
            certificate.not_before_ms <= certificate.not_after_ms,
            "{certificate:?}"
        );
    }
}

fn certificates() -> Vec<Vec<u8>> {
    issued().into_iter().map(|issued| issued.der).collect()
}

fn certificate_file(bytes: &[u8]) {
    thread_local! {
        static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
    }
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| tempfile::tempdir().expect("a folder for one file"));
        let path = folder.path().join("certificate");
        std::fs::write(&path, bytes).expect("the file is written");
        if let Ok(Some(read)) = IssuedCertificate::load(&path) {
            let copy = folder.path().join("copy");
            read.store(&copy).expect("the file is written");
            assert_eq!(std::fs::read(&copy).ok().as_deref(), Some(bytes));
        }
    });
}

fn certificate_files() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder for one file");
    let path = folder.path().join("certificate");
    let bytes = issued().into_iter().filter_map(|issued| {
        issued.store(&path).ok()?;
        std::fs::read(&path).ok()
    });
    bytes.collect()
}

fn ticket(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(ticket) = text.parse::<Ticket>() {
        let canonical = ticket.to_string();
        assert_eq!(canonical, text.trim().to_ascii_lowercase());
    }
    if let Ok(entrance) = text.parse::<Entrance>() {
        assert!(entrance.addresses().len() <= text.len());
    }
}

fn tickets() -> Vec<Vec<u8>> {
    let addresses = ["203.0.113.7:7400", "[2001:db8::1]:7400"];
    let parsed = addresses
        .iter()
        .filter_map(|address| address.parse::<SocketAddr>().ok());
    let ticket = Ticket::generate(FABRIC, parsed.collect(), 1_800_000_000);
    let mut seeds = vec![format!("{FABRIC}@{}", addresses.join(",")).into_bytes()];
    seeds.extend(ticket.ok().map(|ticket| ticket.to_string().into_bytes()));
    seeds
}
