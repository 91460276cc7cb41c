//! Runs the binary, alone or against a node of its own, and cleans up whatever happens.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take before a test gives up: generous, because machines are shared.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at something that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The output of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.out
    }

    /// The error of a command that must have failed with `code`.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:#?}");
        self.err
    }

    /// The JSON that a command that must have succeeded printed.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
}

/// The binary, without anything of the caller's environment that it would heed.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nexus"));
    for variable in ["NEXUS_DATA", "XDG_DATA_HOME", "RUST_LOG", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command.env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub(crate) fn nexus(arguments: &[&str]) -> Ran {
    run(binary().args(arguments))
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Looks again and again until something is there.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A process that is killed when the test is done with it.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    pub(crate) fn new(command: &mut Command) -> Self {
        Self {
            child: command.spawn().unwrap(),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// The exit code of a process that must end by itself.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> i32 {
        let status = eventually("the process ends", || self.child.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }

    /// What it has used of the cpu since it began, in the system's clock ticks of 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name may hold anything; the fields behind it are counted from 3 (proc(5)).
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let field = |number: usize| -> u64 {
            let field = fields.split(' ').nth(number - 3).unwrap();
            field.parse().unwrap()
        };
        Duration::from_millis((field(14) + field(15)) * 10)
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node in a directory of its own, and the folder with a test's files.
pub(crate) struct Fabric {
    pub(crate) process: Running,
    pub(crate) folder: TempDir,
}

impl Fabric {
    /// A fresh fabric that serves HTTP on a free port.
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &["--http", "127.0.0.1:0"])
    }

    /// A node whose data is in `folder`, ready to answer.
    #[track_caller]
    pub(crate) fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let mut up = up(folder.path(), arguments);
        Self::run_in(folder, &mut up)
    }

    /// A node that `command` starts, whose data and log are in `folder`, ready to answer.
    #[track_caller]
    pub(crate) fn run_in(folder: TempDir, command: &mut Command) -> Self {
        let process = Running::new(command);
        let mut fabric = Self { process, folder };
        eventually("the node is ready", || {
            assert!(
                !fabric.process.has_ended(),
                "the node ended: {}",
                fabric.log()
            );
            (fabric.nexus(&["node", "status"]).code == 0).then_some(())
        });
        fabric
    }

    /// What the node wrote so far, results and logs.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("node.log")).unwrap()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A command line for this node, run in the test's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command
            .arg("--data")
            .arg(self.data())
            .args(arguments)
            .current_dir(self.folder.path());
        command
    }

    /// Runs a command against this node.
    pub(crate) fn nexus(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }

    /// Writes a file into the test's folder.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Where HTTP is served.
    pub(crate) fn http(&self) -> String {
        let status = self.nexus(&["node", "status", "-o", "json"]).json();
        let http = status["http"].as_str().unwrap();
        http.trim_start_matches("http://").to_owned()
    }

    /// Status and body of a GET.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        get(&self.http(), path).unwrap()
    }

    /// The state of a workload, or nothing if it is not there.
    pub(crate) fn state(&self, name: &str) -> Option<String> {
        let ran = self.nexus(&["describe", name, "-o", "json"]);
        (ran.code == 0).then(|| ran.json()["state"].as_str().unwrap().to_owned())
    }

    /// Ends the node politely and keeps its folder.
    #[track_caller]
    pub(crate) fn stop(mut self) -> TempDir {
        self.process.signal(Signal::INT);
        assert_eq!(self.process.ends(), 0, "{}", self.log());
        self.folder
    }
}

/// `nexus up` with its data and its log in `folder`.
pub(crate) fn up(folder: &Path, arguments: &[&str]) -> Command {
    let log = File::create(folder.join("node.log")).unwrap();
    let mut command = binary();
    command
        .arg("--data")
        .arg(folder.join("data"))
        .arg("up")
        .args(arguments);
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command
}

/// Status and body of a GET; none if nobody answers.
pub(crate) fn get(http: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(http).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    Some((
        status,
        if chunked {
            joined(body)
        } else {
            body.to_owned()
        },
    ))
}

/// A body without its chunk sizes (RFC 9112, section 7.1).
fn joined(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        body.push_str(&rest[..size]);
        chunks = &rest[size + 2..];
    }
    body
}
