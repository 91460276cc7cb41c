//! etcd with one and three members, doing durable puts over its HTTP gateway, where its program is
//! installed. Knows nothing of the ledger.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Failure;

/// How long a member may take to answer its first put.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program: named by `HYPERMESH_ETCD`, else found on the path.
pub(crate) fn program() -> Option<PathBuf> {
    let named = std::env::var_os("HYPERMESH_ETCD").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = || {
        let programs = std::env::split_paths(&path).map(|folder| folder.join("etcd"));
        programs.into_iter().find(|program| program.is_file())
    };
    named.or_else(found)
}

/// Members that are stopped when dropped.
pub(crate) struct Etcd {
    members: Vec<Child>,
    client: String,
}

impl Etcd {
    /// Starts `members` of them on the disk of `dir`, and waits until they take a put.
    pub(crate) fn start(program: &Path, members: usize, dir: &Path) -> Result<Self, Failure> {
        let ports = free_addresses(members * 2)?;
        let (clients, peers) = ports.split_at(members);
        let cluster: Vec<_> = peers
            .iter()
            .enumerate()
            .map(|(member, peer)| format!("m{member}=http://{peer}"))
            .collect();
        let cluster = cluster.join(",");
        let mut etcd = Self {
            members: Vec::new(),
            client: clients.first().ok_or("no member")?.clone(),
        };
        for (member, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let data = dir.join(format!("etcd-{members}-{member}"));
            let mut command = Command::new(program);
            command
                .args(["--name", &format!("m{member}"), "--data-dir"])
                .arg(data)
                .args(["--listen-client-urls", &format!("http://{client}")])
                .args(["--advertise-client-urls", &format!("http://{client}")])
                .args(["--listen-peer-urls", &format!("http://{peer}")])
                .args(["--initial-advertise-peer-urls", &format!("http://{peer}")])
                .args(["--initial-cluster", &cluster])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            etcd.members.push(command.spawn()?);
        }
        let began = Instant::now();
        while let Err(error) = etcd.connect().and_then(|mut client| client.put(0)) {
            if began.elapsed() > PATIENCE {
                return Err(format!("etcd takes no put: {error}").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(etcd)
    }

    fn connect(&self) -> Result<Connection, Failure> {
        Connection::open(&self.client)
    }

    /// Puts `count` values over `connections` at once, each after a pause; how long each took.
    pub(crate) fn puts(
        &self,
        connections: usize,
        count: u64,
        pause: Duration,
    ) -> Result<Vec<Duration>, Failure> {
        let one = |first: u64| -> Result<Vec<Duration>, Failure> {
            let mut client = self.connect()?;
            (0..count)
                .map(|number| {
                    std::thread::sleep(pause);
                    client.put(first * count + number)
                })
                .collect()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..connections as u64)
                .map(|first| scope.spawn(move || one(first).map_err(|error| error.to_string())))
                .collect();
            let mut times = Vec::new();
            for thread in threads {
                times.extend(thread.join().map_err(|_| "a client of etcd panicked")??);
            }
            Ok(times)
        })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            // One that ended already is not there to be killed.
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

/// Addresses that nobody listens at. All are held until the last is chosen, so that no two are the
/// same, and none is held any more: the program could not listen there, and this process would.
fn free_addresses(count: usize) -> io::Result<Vec<String>> {
    let listeners = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<io::Result<Vec<_>>>()?;
    let address = |listener: &TcpListener| Ok(listener.local_addr()?.to_string());
    listeners.iter().map(address).collect()
}

/// One connection to a member, kept alive.
struct Connection {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            address: address.to_owned(),
            stream: BufReader::new(stream),
        })
    }

    /// Puts a value as large as the smallest transaction of a ledger.
    fn put(&mut self, number: u64) -> Result<Duration, Failure> {
        // Base64 of 180 bytes.
        let value = "QUFB".repeat(60);
        let key = format!("{number:016x}");
        let body = format!(r#"{{"key":"{key}","value":"{value}"}}"#);
        let request = format!(
            "POST /v3/kv/put HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let began = Instant::now();
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if !line.contains(" 200 ") {
            return Err(format!("etcd answers {line:?}").into());
        }
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(text) = lower.strip_prefix("content-length:") {
                length = text.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok(began.elapsed())
    }
}
