//! Certificates by ACME: obtained, kept, renewed, and what an authority that misbehaves can do.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use crate::acme_server::{AcmeServer, Fault};
use crate::acme_validation::handshake;
use crate::harness::{self, Fabric, eventually};
use crate::https;

const NAME: &str = "www.example.test";

/// A node whose certificate is ordered from `server`, which finds it.
fn node(server: &AcmeServer, folder: TempDir) -> Fabric {
    let flags = server.flags(folder.path(), NAME);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let fabric = Fabric::start_in(folder, &flags);
    let status = status(&fabric);
    let address = |field: &str| status[field].as_str().unwrap().to_owned();
    server.names_lead_to(&address("https"), &address("http"));
    fabric
}

fn status(fabric: &Fabric) -> Value {
    fabric.nexus(&["node", "status", "-o", "json"]).json()
}

/// The status of the certificate, once it has one by the test's authority.
fn certified(fabric: &Fabric) -> Value {
    eventually("there is a certificate", || {
        let certificate = status(fabric)["https_certificate"].clone();
        (certificate["issuer"] == "Test Authority").then_some(certificate)
    })
}

fn https_of(fabric: &Fabric) -> String {
    status(fabric)["https"].as_str().unwrap().to_owned()
}

/// Nothing is deployed: the node says so, over a connection that verified its certificate.
fn assert_served(fabric: &Fabric, server: &AcmeServer) {
    let answer = https::get_at(&https_of(fabric), NAME, &server.root).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 404") && answer.contains("no workload"),
        "{answer}"
    );
}

#[test]
fn a_certificate_is_obtained_through_tls_and_kept_over_a_restart() {
    let server = AcmeServer::start(&["tls-alpn-01"], Fault::None);
    let fabric = node(&server, tempfile::tempdir().unwrap());
    let certificate = certified(&fabric);
    assert_eq!(certificate["source"], "acme");
    assert_eq!(certificate["names"], serde_json::json!([NAME]));
    assert_eq!(certificate.get("problem"), None, "{certificate}");
    assert_served(&fabric, &server);
    let shown = fabric.nexus(&["node", "status"]).ok();
    assert!(
        shown.contains("www.example.test, by Test Authority, until 20"),
        "{shown}"
    );
    let folder = fabric.data().join("acme");
    for name in ["", "account.json", "certificate.json", "attempts.json"] {
        let mode = fs::metadata(folder.join(name))
            .unwrap()
            .permissions()
            .mode();
        let wanted = if name.is_empty() { 0o700 } else { 0o600 };
        assert_eq!(mode & 0o777, wanted, "{name}");
    }
    // Who validates a name that nobody orders now is shown nothing.
    let https = https_of(&fabric);
    assert!(handshake(&https, NAME, &[b"acme-tls/1"]).is_err());
    assert!(
        handshake(&https, NAME, &[b"acme-tls/1", b"http/1.1"]).is_ok(),
        "a client"
    );
    let fabric = node(&server, fabric.stop());
    certified(&fabric);
    assert_served(&fabric, &server);
    assert_eq!(server.asked("/order"), 1, "the restart ordered nothing");
    assert_eq!(server.asked("/account"), 1);
}

#[test]
fn a_certificate_is_obtained_through_plain_http() {
    let server = AcmeServer::start(&["http-01"], Fault::None);
    let fabric = node(&server, tempfile::tempdir().unwrap());
    certified(&fabric);
    assert_served(&fabric, &server);
    let (code, text) = fabric.get("/.well-known/acme-challenge/token_0-7");
    assert_eq!(
        code, 404,
        "what is not pending is a workload's path: {text}"
    );
}

#[test]
fn a_certificate_is_renewed_under_open_connections() {
    let server = AcmeServer::start(&["tls-alpn-01"], Fault::None);
    // To be renewed after two thirds of its life: in 5 s.
    server.next_life(-95, 55);
    let fabric = node(&server, tempfile::tempdir().unwrap());
    let first = certified(&fabric)["expires_ms"].as_u64().unwrap();
    let (mut open, _) = handshake(&https_of(&fabric), NAME, &[b"http/1.1"]).unwrap();
    let mut ask = || {
        open.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
        let mut answer = [0; 1_024];
        let read = open.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    };
    assert!(ask().starts_with("HTTP/1.1 404"));
    eventually("the certificate is renewed", || {
        let expires = status(&fabric)["https_certificate"]["expires_ms"].as_u64();
        (expires.unwrap() > first).then_some(())
    });
    assert!(
        ask().starts_with("HTTP/1.1 404"),
        "the open connection goes on"
    );
    assert_served(&fabric, &server);
    assert_eq!(server.asked("/order"), 2);
}

#[test]
fn a_failed_validation_is_said_and_tried_again_later() {
    let server = AcmeServer::start(&["tls-alpn-01"], Fault::Invalid);
    let fabric = node(&server, tempfile::tempdir().unwrap());
    let problem = problem(&fabric);
    let words = "could not validate www.example.test by tls-alpn-01";
    assert!(
        problem.contains(words) && problem.contains("somebody else"),
        "{problem}"
    );
    let shown = fabric.nexus(&["node", "status"]).ok();
    assert!(
        shown.contains("none yet: TLS handshakes fail") && shown.contains("tried again at"),
        "{shown}"
    );
    assert!(https::get_at(&https_of(&fabric), NAME, &server.root).is_err());
    assert_eq!(server.asked("/order"), 1);
    server.misbehave(Fault::None);
    let certificate = certified(&fabric);
    assert_eq!(certificate.get("problem"), None, "{certificate}");
    assert_served(&fabric, &server);
}

#[test]
fn one_open_port_is_enough() {
    let server = AcmeServer::start(&["http-01", "tls-alpn-01"], Fault::None);
    let folder = tempfile::tempdir().unwrap();
    let flags = server.flags(folder.path(), NAME);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let fabric = Fabric::start_in(folder, &flags);
    // Port 443 of the name leads to nobody.
    server.names_lead_to("127.0.0.1:1", &fabric.http());
    assert!(problem(&fabric).contains("by tls-alpn-01"));
    certified(&fabric);
    assert_served(&fabric, &server);
    let kept = fs::read_to_string(fabric.data().join("acme/certificate.json")).unwrap();
    assert!(
        kept.contains("http-01"),
        "what worked is tried first next time"
    );
}

#[test]
fn an_authority_that_misbehaves_is_left_alone_and_plain_http_goes_on() {
    let cases = [
        (Fault::Broken, "answered 503"),
        (Fault::RateLimited, "too many orders"),
        (Fault::Garbage, "JSON"),
        (Fault::Nonces, "badNonce"),
        (Fault::Directory, "newNonce is not an https URL"),
        (Fault::OtherName, "not good for www.example.test"),
    ];
    std::thread::scope(|scope| {
        for (fault, words) in cases {
            scope.spawn(move || misbehaves(fault, words));
        }
    });
}

fn misbehaves(fault: Fault, words: &str) {
    let server = AcmeServer::start(&["tls-alpn-01"], fault);
    let fabric = node(&server, tempfile::tempdir().unwrap());
    let problem = problem(&fabric);
    assert!(problem.contains(words), "{fault:?}: {problem}");
    let (code, text) = fabric.get("/");
    assert!(
        code == 404 && text.contains("no workload"),
        "{fault:?}: {text}"
    );
    assert!(https::get_at(&https_of(&fabric), NAME, &server.root).is_err());
    let log = fabric.log();
    assert!(
        !log.contains("panicked") && log.contains("no new certificate"),
        "{fault:?}: {log}"
    );
    let asked = server.asked("/directory");
    let retry_ms = status(&fabric)["https_certificate"]["retry_ms"]
        .as_u64()
        .unwrap();
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let in_ms = u128::from(retry_ms).saturating_sub(now_ms);
    if fault == Fault::RateLimited {
        assert!(
            in_ms > 1_800_000,
            "the authority said an hour, not {in_ms} ms"
        );
        // A restart is no way around the pause.
        let fabric = node(&server, fabric.stop());
        let certificate = status(&fabric)["https_certificate"].clone();
        assert_eq!(
            certificate["retry_ms"].as_u64(),
            Some(retry_ms),
            "{certificate}"
        );
        assert_eq!(server.asked("/directory"), asked);
    }
}

/// What the status says is wrong, once it does.
fn problem(fabric: &Fabric) -> String {
    eventually("the failure is told", || {
        let certificate = status(fabric)["https_certificate"].clone();
        certificate["problem"].as_str().map(str::to_owned)
    })
}

#[test]
fn flags_that_cannot_work_are_refused_before_anything_is_ordered() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = |flags: &[&str]| {
        let base = [
            "--data",
            data.to_str().unwrap(),
            "up",
            "--https",
            "127.0.0.1:0",
        ];
        harness::nexus(&[&base, flags].concat())
    };
    let terms = up(&["--acme-domain", "a.example"]).failed(2);
    assert!(terms.contains("--acme-accept-terms"), "{terms}");
    let wildcard = up(&["--acme-accept-terms", "--acme-domain", "*.a.example"]).failed(2);
    assert!(wildcard.contains("through DNS only"), "{wildcard}");
    let good = ["--acme-accept-terms", "--acme-domain", "a.example"];
    let plain = up(&[&good[..], &["--acme-directory", "http://ca.example/"]].concat()).failed(2);
    assert!(plain.contains("not an https URL"), "{plain}");
    let both = up(&[&good[..], &["--certificate", "a", "--key", "b"]].concat()).failed(2);
    assert!(both.contains("cannot be used with"), "{both}");
    let root = up(&[&good[..], &["--acme-root", "/nonexistent"]].concat()).failed(1);
    assert!(
        root.contains("/nonexistent holds no root certificates"),
        "{root}"
    );
}
