//! A certificate authority of the tests' own: as much of RFC 8555 as one order needs, strict about what
//! clients must do, and able to misbehave in every way that a client must survive.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use data_encoding::BASE64URL_NOPAD as BASE64URL;
use rcgen::{CertificateParams, CertificateSigningRequestParams, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::acme_validation;
use crate::harness::{PATIENCE, get};

/// How it misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not.
    None,
    /// It is out of order, and says so in HTML.
    Broken,
    /// It has had enough of this client for an hour.
    RateLimited,
    /// Orders are answered with what is no order.
    Garbage,
    /// No nonce is ever good.
    Nonces,
    /// Its directory names what is no address.
    Directory,
    /// It finds each challenge invalid.
    Invalid,
    /// The certificate is for another name.
    OtherName,
}

/// How it stands with the one order that is under way.
#[derive(Debug, Default)]
struct Order {
    name: String,
    token: String,
    valid: bool,
    /// The kind of challenge that was validated.
    tried: String,
    error: Option<String>,
    chain: Option<String>,
}

#[derive(Default)]
struct State {
    nonces: BTreeSet<String>,
    serial: u64,
    /// Thumbprint and raw public key of each account.
    accounts: Vec<(String, Vec<u8>)>,
    orders: Vec<Order>,
    asked: BTreeMap<String, usize>,
    /// From when to when the next certificates are good, in seconds from now.
    lives: VecDeque<(i64, i64)>,
}

/// What all connections look at.
struct Authority {
    base: String,
    issuer: Issuer<'static, KeyPair>,
    kinds: &'static [&'static str],
    fault: Mutex<Fault>,
    /// Where the names lead to, HTTPS and HTTP, once it is known.
    ingress: Mutex<Option<(String, String)>>,
    state: Mutex<State>,
    stop: AtomicBool,
}

/// A running authority.
pub(crate) struct AcmeServer {
    authority: Arc<Authority>,
    address: String,
    pub(crate) root: CertificateDer<'static>,
    root_pem: String,
}

impl AcmeServer {
    /// Starts one that offers challenges of `kinds`.
    pub(crate) fn start(kinds: &'static [&'static str], fault: Fault) -> Self {
        let root_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let name = &mut params.distinguished_name;
        name.push(rcgen::DnType::CommonName, "Test Authority");
        let root = params.self_signed(&root_key).unwrap();
        let issuer = Issuer::new(params, root_key);
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let own = own.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let authority = Arc::new(Authority {
            base: format!("https://localhost:{}", address.port()),
            issuer,
            kinds,
            fault: Mutex::new(fault),
            ingress: Mutex::new(None),
            state: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let (serving, tls) = (Arc::clone(&authority), Arc::new(tls));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stop.load(Ordering::Relaxed) {
                    return;
                }
                let (serving, tls) = (Arc::clone(&serving), Arc::clone(&tls));
                std::thread::spawn(move || serving.connection(stream.unwrap(), tls));
            }
        });
        Self {
            authority,
            address: address.to_string(),
            root: root.der().clone(),
            root_pem: root.pem(),
        }
    }

    /// The flags for a node that orders a certificate for `name`.
    pub(crate) fn flags(&self, folder: &Path, name: &str) -> Vec<String> {
        let root = folder.join("root.pem");
        std::fs::write(&root, &self.root_pem).unwrap();
        let directory = format!("{}/directory", self.authority.base);
        let flags = [
            "--http",
            "127.0.0.1:0",
            "--https",
            "127.0.0.1:0",
            "--acme-domain",
            name,
            "--acme-accept-terms",
            "--acme-contact",
            "admin@example.test",
            "--acme-directory",
            &directory,
            "--acme-root",
            root.to_str().unwrap(),
        ];
        flags.map(str::to_owned).to_vec()
    }

    /// Says where the names lead to: challenges wait until then.
    pub(crate) fn names_lead_to(&self, https: &str, http: &str) {
        *self.authority.ingress.lock().unwrap() = Some((https.to_owned(), http.to_owned()));
    }

    /// Misbehaves differently from now on.
    pub(crate) fn misbehave(&self, fault: Fault) {
        *self.authority.fault.lock().unwrap() = fault;
    }

    /// The next certificate is good from then to then, in seconds from its making.
    pub(crate) fn next_life(&self, from_s: i64, to_s: i64) {
        let mut state = self.authority.state.lock().unwrap();
        state.lives.push_back((from_s, to_s));
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        let state = self.authority.state.lock().unwrap();
        state.asked.get(path).copied().unwrap_or(0)
    }
}

impl Drop for AcmeServer {
    fn drop(&mut self) {
        self.authority.stop.store(true, Ordering::Relaxed);
        // Wakes the one that accepts.
        let _ = TcpStream::connect(&self.address);
    }
}

/// An answer: status, further header lines, body.
struct Reply(u16, String, String);

fn problem(status: u16, kind: &str, detail: &str) -> Reply {
    let kind = format!("urn:ietf:params:acme:error:{kind}");
    let body = json!({ "type": kind, "detail": detail, "status": status });
    Reply(status, String::new(), body.to_string())
}

fn reply(status: u16, body: &Value) -> Reply {
    Reply(status, String::new(), body.to_string())
}

impl Authority {
    fn connection(self: Arc<Self>, stream: TcpStream, tls: Arc<ServerConfig>) {
        let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
        let Some((method, path, body)) = request(&mut stream) else {
            return;
        };
        let Reply(status, headers, body) = self.answer(&method, &path, &body);
        let nonce = {
            let mut state = self.state.lock().unwrap();
            *state.asked.entry(path).or_default() += 1;
            state.serial += 1;
            let nonce = BASE64URL.encode(&state.serial.to_be_bytes());
            state.nonces.insert(nonce.clone());
            nonce
        };
        let length = if method == "HEAD" { 0 } else { body.len() };
        let head = format!(
            "HTTP/1.1 {status} X\r\nreplay-nonce: {nonce}\r\ncontent-length: {length}\r\n\
             {headers}connection: close\r\n\r\n"
        );
        // A client that has gone is its own concern.
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&body.as_bytes()[..length]);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }

    fn answer(self: &Arc<Self>, method: &str, path: &str, body: &[u8]) -> Reply {
        let fault = *self.fault.lock().unwrap();
        let base = &self.base;
        if fault == Fault::Broken {
            return Reply(503, String::new(), "<html>out of order</html>".to_owned());
        }
        match (method, path) {
            ("GET", "/directory") => {
                let nonce = match fault {
                    Fault::Directory => "https://not an address/".to_owned(),
                    _ => format!("{base}/nonce"),
                };
                let (account, order) = (format!("{base}/account"), format!("{base}/order"));
                reply(
                    200,
                    &json!({ "newNonce": nonce, "newAccount": account, "newOrder": order }),
                )
            }
            ("HEAD", "/nonce") => Reply(200, String::new(), String::new()),
            ("POST", _) => match self.verified(path, body, fault) {
                Ok((thumbprint, payload)) => self.post(path, &thumbprint, &payload, fault),
                Err(refused) => refused,
            },
            _ => problem(404, "malformed", "no such resource"),
        }
    }

    /// Checks a request's signature, nonce and address (RFC 8555, section 6). The thumbprint of its
    /// key and its payload.
    fn verified(&self, path: &str, body: &[u8], fault: Fault) -> Result<(String, Vec<u8>), Reply> {
        let body: Value = serde_json::from_slice(body).unwrap();
        let field = |name: &str| body[name].as_str().unwrap().to_owned();
        let decoded = |text: &str| BASE64URL.decode(text.as_bytes()).unwrap();
        let (protected, payload) = (field("protected"), field("payload"));
        let header: Value = serde_json::from_slice(&decoded(&protected)).unwrap();
        assert_eq!(header["alg"], "ES256");
        assert_eq!(header["url"], format!("{}{path}", self.base));
        let mut state = self.state.lock().unwrap();
        let nonce_is_good = state.nonces.remove(header["nonce"].as_str().unwrap());
        if !nonce_is_good || fault == Fault::Nonces {
            return Err(problem(400, "badNonce", "that nonce is not good"));
        }
        let (thumbprint, public) = match header["kid"].as_str() {
            Some(kid) => {
                let index: usize = kid.rsplit_once('/').unwrap().1.parse().unwrap();
                let unknown = problem(400, "accountDoesNotExist", "no such account");
                state.accounts.get(index).cloned().ok_or(unknown)?
            }
            None => {
                assert_eq!(path, "/account", "only this takes a bare key");
                let part = |name: &str| header["jwk"][name].as_str().unwrap().to_owned();
                let (x, y) = (part("x"), part("y"));
                // RFC 7638: these members, in this order.
                let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
                let thumbprint = digest(&SHA256, canonical.as_bytes());
                let public = [vec![4], decoded(&x), decoded(&y)].concat();
                let account = (BASE64URL.encode(thumbprint.as_ref()), public);
                state.accounts.push(account.clone());
                account
            }
        };
        let signed = format!("{protected}.{payload}");
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public);
        let signature = decoded(&field("signature"));
        key.verify(signed.as_bytes(), &signature)
            .map_err(|_| problem(400, "malformed", "the signature is not good"))?;
        Ok((thumbprint, decoded(&payload)))
    }

    fn post(self: &Arc<Self>, path: &str, thumbprint: &str, payload: &[u8], fault: Fault) -> Reply {
        let base = &self.base;
        let (resource, index) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let (index, kind) = index.split_once('/').unwrap_or((index, ""));
        let index: usize = index.parse().unwrap_or(0);
        match resource {
            "account" => {
                let asked: Value = serde_json::from_slice(payload).unwrap();
                assert_eq!(asked["termsOfServiceAgreed"], true);
                assert_eq!(asked["contact"], json!(["mailto:admin@example.test"]));
                let number = self.state.lock().unwrap().accounts.len() - 1;
                let location = format!("location: {base}/account/{number}\r\n");
                Reply(201, location, json!({ "status": "valid" }).to_string())
            }
            "order" if path == "/order" => match fault {
                Fault::Garbage => Reply(201, String::new(), r#"{"status":7}"#.to_owned()),
                Fault::RateLimited => {
                    let mut limited = problem(429, "rateLimited", "too many orders");
                    limited.1 = "retry-after: 3600\r\n".to_owned();
                    limited
                }
                _ => self.new_order(payload),
            },
            "order" => self.order(index, 200, ""),
            "authorization" => self.authorization(index),
            "challenge" => {
                let mut kinds = self.kinds.iter();
                let kind = *kinds.find(|known| **known == kind).unwrap();
                let checking = (Arc::clone(self), thumbprint.to_owned());
                std::thread::spawn(move || checking.0.validate(index, kind, &checking.1, fault));
                reply(200, &self.challenge(index, kind, "processing"))
            }
            "finalize" => self.finalize(index, payload, fault),
            "certificate" => {
                let chain = self.state.lock().unwrap().orders[index].chain.clone();
                Reply(200, String::new(), chain.unwrap())
            }
            _ => problem(404, "malformed", "no such resource"),
        }
    }

    fn new_order(&self, payload: &[u8]) -> Reply {
        let asked: Value = serde_json::from_slice(payload).unwrap();
        let names = asked["identifiers"].as_array().unwrap();
        assert_eq!(
            names.len(),
            1,
            "this authority validates one name per order"
        );
        let mut state = self.state.lock().unwrap();
        let (number, serial) = (state.orders.len(), state.serial);
        state.orders.push(Order {
            name: names[0]["value"].as_str().unwrap().to_owned(),
            token: format!("token_{number}-{serial}"),
            ..Order::default()
        });
        drop(state);
        let location = format!("location: {}/order/{number}\r\n", self.base);
        self.order(number, 201, &location)
    }

    fn order(&self, number: usize, status: u16, headers: &str) -> Reply {
        let (state, base) = (self.state.lock().unwrap(), &self.base);
        let order = &state.orders[number];
        let word = match order {
            Order { error: Some(_), .. } => "invalid",
            Order { chain: Some(_), .. } => "valid",
            Order { valid: true, .. } => "ready",
            _ => "pending",
        };
        let mut body = json!({
            "status": word,
            "authorizations": [format!("{base}/authorization/{number}")],
            "finalize": format!("{base}/finalize/{number}"),
        });
        if order.chain.is_some() {
            body["certificate"] = format!("{base}/certificate/{number}").into();
        }
        Reply(status, headers.to_owned(), body.to_string())
    }

    fn authorization(&self, number: usize) -> Reply {
        let word = {
            let state = self.state.lock().unwrap();
            let order = &state.orders[number];
            match (order.valid, &order.error) {
                (_, Some(_)) => "invalid",
                (true, None) => "valid",
                (false, None) => "pending",
            }
        };
        let kinds = self.kinds.iter();
        let challenges: Vec<_> = kinds
            .map(|kind| self.challenge(number, kind, word))
            .collect();
        let name = self.state.lock().unwrap().orders[number].name.clone();
        let identifier = json!({ "type": "dns", "value": name });
        reply(
            200,
            &json!({ "identifier": identifier, "status": word, "challenges": challenges }),
        )
    }

    fn challenge(&self, number: usize, kind: &str, word: &str) -> Value {
        let state = self.state.lock().unwrap();
        let order = &state.orders[number];
        let url = format!("{}/challenge/{number}/{kind}", self.base);
        let mut body = json!({ "type": kind, "url": url, "token": order.token, "status": word });
        if let Some(error) = order.error.as_ref().filter(|_| order.tried == kind) {
            let kind = "urn:ietf:params:acme:error:connection";
            body["error"] = json!({ "type": kind, "detail": error });
        }
        body
    }

    /// Connects to where the name leads, as soon as that is known.
    fn validate(&self, number: usize, kind: &str, thumbprint: &str, fault: Fault) {
        let begun = Instant::now();
        let (https, http) = loop {
            if let Some(ingress) = self.ingress.lock().unwrap().clone() {
                break ingress;
            }
            assert!(begun.elapsed() < PATIENCE, "names lead nowhere");
            std::thread::sleep(Duration::from_millis(20));
        };
        let (name, token) = {
            let order = &self.state.lock().unwrap().orders[number];
            (order.name.clone(), order.token.clone())
        };
        let proof = format!("{token}.{thumbprint}");
        let found = match kind {
            _ if fault == Fault::Invalid => Err("the name leads to somebody else".to_owned()),
            "http-01" => {
                let answer = get(&http, &format!("/.well-known/acme-challenge/{token}"));
                match answer == Some((200, proof)) {
                    true => Ok(()),
                    false => Err(format!("{answer:?} is not the key authorization")),
                }
            }
            _ => acme_validation::tls_alpn(&https, &name, &proof),
        };
        let order = &mut self.state.lock().unwrap().orders[number];
        kind.clone_into(&mut order.tried);
        order.valid = found.is_ok();
        order.error = found.err();
    }

    fn finalize(&self, number: usize, payload: &[u8], fault: Fault) -> Reply {
        let asked: Value = serde_json::from_slice(payload).unwrap();
        let der = BASE64URL.decode(asked["csr"].as_str().unwrap().as_bytes());
        let der = CertificateSigningRequestDer::from(der.unwrap());
        // Checks the signature, too.
        let mut request = CertificateSigningRequestParams::from_der(&der).unwrap();
        {
            let mut state = self.state.lock().unwrap();
            let (from_s, to_s) = state.lives.pop_front().unwrap_or((-3_600, 90 * 86_400));
            let order = &mut state.orders[number];
            assert!(order.valid, "finalized before the name was validated");
            let dns = |name: &str| rcgen::SanType::DnsName(name.try_into().unwrap());
            assert_eq!(request.params.subject_alt_names, [dns(&order.name)]);
            if fault == Fault::OtherName {
                request.params.subject_alt_names = vec![dns("other.example.test")];
            }
            let now = time::OffsetDateTime::from(std::time::SystemTime::now());
            request.params.not_before = now + time::Duration::seconds(from_s);
            request.params.not_after = now + time::Duration::seconds(to_s);
            order.chain = Some(request.signed_by(&self.issuer).unwrap().pem());
        }
        self.order(number, 200, "")
    }
}

/// Method, path and body of a request; none if the client went.
fn request(
    stream: &mut StreamOwned<ServerConnection, TcpStream>,
) -> Option<(String, String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let lower = head.to_ascii_lowercase();
            let mut lines = lower
                .lines()
                .filter_map(|line| line.strip_prefix("content-length: "));
            let length: usize = lines.next().map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                let mut words = head.split(' ').map(str::to_owned);
                return Some((words.next()?, words.next()?, bytes.split_off(end + 4)));
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}
