//! A notary: writes the digest of a document on the fabric's ledger and hands out proofs of when.

use std::io::Read as _;

use hypermesh_guest::http::{self, Answer, Method, StatusCode};
use hypermesh_guest::ledger::{self, Entry, Error, Options};
use sha2::{Digest as _, Sha256};

/// Largest proof that is looked at: what the host takes.
const PROOF_BYTES_MAX: u64 = 8 << 20;

hypermesh_guest::http_service!(handle);

fn handle(request: http::Request) -> http::Response {
    let path = request.uri().path().trim_matches('/').to_owned();
    let answer = match (request.method(), path.as_str()) {
        (&Method::POST, "") => hash(request.into_body()).map(|digest| record(&digest)),
        (&Method::POST, "verify") => Ok(verify(request.into_body())),
        (&Method::POST, digest) => is_digest(digest).map(|()| record(digest)),
        (&Method::GET, path) => match path.strip_suffix("/proof") {
            Some(digest) => is_digest(digest).map(|()| prove(digest)),
            None => is_digest(path).map(|()| look(path)),
        },
        _ => Err(StatusCode::METHOD_NOT_ALLOWED.answer()),
    };
    answer.unwrap_or_else(|refused| refused)
}

/// SHA-256 of a document, read piece by piece.
fn hash(mut body: http::Body) -> Result<String, http::Response> {
    let mut hasher = Sha256::new();
    let mut piece = [0; 16 << 10];
    loop {
        let length = match body.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) => return Err((StatusCode::BAD_REQUEST, format!("{error}\n")).answer()),
        };
        hasher.update(piece.get(..length).unwrap_or_default());
    }
    let digest = hasher.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn is_digest(text: &str) -> Result<(), http::Response> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 64 && text.bytes().all(digit) {
        return Ok(());
    }
    let text = "name a document by its SHA-256: 64 digits of 0-9 and a-f\n";
    Err((StatusCode::BAD_REQUEST, text).answer())
}

/// Writes the digest down, once: who comes first decides when it was.
fn record(digest: &str) -> http::Response {
    let new = Options {
        only_new: true,
        ..Options::default()
    };
    let height = ledger::submit(digest, "", new).and_then(|submission| submission.finality());
    match height {
        Ok(_) => told(StatusCode::CREATED, digest),
        Err(Error::Exists) => told(StatusCode::OK, digest),
        Err(error) => refusal(&error),
    }
}

fn look(digest: &str) -> http::Response {
    told(StatusCode::OK, digest)
}

/// Says when the digest was recorded.
fn told(status: StatusCode, digest: &str) -> http::Response {
    let reading = match ledger::read(digest) {
        Ok(reading) => reading,
        Err(error) => return refusal(&error),
    };
    match reading.entry {
        Some(entry) => (status, format!("{}\n", since(digest, &entry))).answer(),
        None => {
            let height = reading.height;
            let text = format!("{digest} is not recorded, up to block {height}\n");
            (StatusCode::NOT_FOUND, text).answer()
        }
    }
}

fn since(digest: &str, entry: &Entry) -> String {
    let (height, seconds) = (entry.height, entry.time_ms / 1000);
    format!("{digest} recorded in block {height} at {seconds} s Unix time")
}

/// The proof as a file, also of a document that was not recorded.
fn prove(digest: &str) -> http::Response {
    match ledger::prove(digest) {
        Ok(proof) => proof.answer(),
        Err(error) => refusal(&error),
    }
}

fn verify(body: http::Body) -> http::Response {
    let mut proof = Vec::new();
    if let Err(error) = body.take(PROOF_BYTES_MAX).read_to_end(&mut proof) {
        return (StatusCode::BAD_REQUEST, format!("{error}\n")).answer();
    }
    let proven = match ledger::verify(&proof) {
        Ok(proven) => proven,
        Err(why) => return (StatusCode::BAD_REQUEST, format!("{why}\n")).answer(),
    };
    let (workload, key, height) = (&proven.workload, &proven.key, proven.height);
    match &proven.entry {
        Some(entry) => format!(
            "proven after block {height}, by {workload}: {}\n",
            since(key, entry)
        ),
        None => format!("proven after block {height}: {workload} has no record of {key}\n"),
    }
    .answer()
}

fn refusal(error: &Error) -> http::Response {
    let status = match error {
        Error::Invalid(_) => StatusCode::BAD_REQUEST,
        Error::Quota(_) => StatusCode::INSUFFICIENT_STORAGE,
        Error::Busy(_) => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{error}\n")).answer()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypermesh_guest::mock;

    /// SHA-256 of `hello`.
    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn a_document_is_recorded_once_and_proven() {
        let recorded = format!("{HELLO} recorded in block 1 at 1 s Unix time\n");
        let post = || mock::post("/", "hello");
        assert_eq!(mock::call(handle, post()), (201, recorded.clone()));
        assert_eq!(mock::call(handle, post()), (200, recorded.clone()));
        let by_digest = mock::post(&format!("/{HELLO}"), "");
        assert_eq!(mock::call(handle, by_digest), (200, recorded.clone()));
        let get = mock::get(&format!("/{HELLO}"));
        assert_eq!(mock::call(handle, get), (200, recorded.clone()));
        let (_, proof) = mock::call(handle, mock::get(&format!("/{HELLO}/proof")));
        let (status, text) = mock::call(handle, mock::post("/verify", proof));
        assert_eq!(status, 200);
        assert!(text.ends_with(&recorded), "{text}");
    }

    #[test]
    fn what_nobody_recorded_is_proven_absent() {
        let other = "0".repeat(64);
        assert_eq!(mock::call(handle, mock::get(&format!("/{other}"))).0, 404);
        let (_, proof) = mock::call(handle, mock::get(&format!("/{other}/proof")));
        let (status, text) = mock::call(handle, mock::post("/verify", proof));
        assert_eq!(status, 200);
        assert!(text.contains("has no record of"), "{text}");
    }

    #[test]
    fn only_digests_are_recorded_and_only_proofs_prove() {
        for path in ["/x", "/ABCD", &format!("/{}", "g".repeat(64))] {
            assert_eq!(mock::call(handle, mock::post(path, "")).0, 400, "{path}");
            assert_eq!(mock::call(handle, mock::get(path)).0, 400, "{path}");
        }
        assert_eq!(mock::call(handle, mock::post("/verify", "x")).0, 400);
    }
}
