//! HTTPS at the ingress: an operator's certificate, and its successor without a restart.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::{Fabric, eventually, nexus};

/// A new certificate for localhost in the folder's files.
fn certificate(folder: &Path) -> CertificateDer<'static> {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    certificate.der().clone()
}

/// The answer to a request of a client that trusts `root` only.
fn get(address: &str, root: &CertificateDer<'static>) -> Result<String, std::io::Error> {
    get_at(address, "localhost", root)
}

/// The answer to a request for `name` at `address` of a client that trusts `root` only.
pub(crate) fn get_at(
    address: &str,
    name: &str,
    root: &CertificateDer<'static>,
) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = name.to_owned().try_into().unwrap();
    let client = ClientConnection::new(Arc::new(config), server).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(address)?);
    let request = format!("GET / HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_certificate_is_served_and_renewed_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = certificate(folder.path());
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let (cert, key) = (
        cert.to_str().unwrap().to_owned(),
        key.to_str().unwrap().to_owned(),
    );
    let arguments = [
        "--https",
        "127.0.0.1:0",
        "--certificate",
        &cert,
        "--key",
        &key,
    ];
    let fabric = Fabric::start_in(tempfile::tempdir().unwrap(), &arguments);
    let status = fabric.nexus(&["node", "status", "-o", "json"]).json();
    let address = status["https"].as_str().unwrap().to_owned();
    let answer = get(&address, &first).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 404") && answer.contains("no workload"),
        "{answer}"
    );
    let second = certificate(folder.path());
    eventually("the new certificate is shown", || {
        get(&address, &second).ok()
    });
    assert!(
        get(&address, &first).is_err(),
        "the old one is not shown any more"
    );
    // Plain HTTP at the port of HTTPS ends that connection only.
    assert_eq!(crate::harness::get(&address, "/"), None);
    assert!(get(&address, &second).is_ok());
}

#[test]
fn https_without_a_usable_certificate_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let missing = nexus(&["--data", data, "up", "--https", "127.0.0.1:0"]).failed(2);
    assert!(missing.contains("--certificate"), "{missing}");
    let absent = ["--certificate", "/nonexistent", "--key", "/nonexistent"];
    let arguments = [
        &["--data", data, "up", "--https", "127.0.0.1:0"],
        &absent[..],
    ]
    .concat();
    let error = nexus(&arguments).failed(1);
    assert!(error.contains("HTTPS cannot be served"), "{error}");
}
