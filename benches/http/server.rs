//! The servers that are compared, each a process of its own: this program once more, or
//! `wasmtime serve`. Knows no load.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hypermesh_benches::{echo_component, hello_component, hello_component_0_3};
use tempfile::TempDir;

use crate::Failure;

/// The release that our own wasmtime is: another one would compare wasmtime with wasmtime.
const WASMTIME_VERSION: &str = "48.0.8";

/// What `wasmtime serve` is built with where it is missing.
const INSTALL: &str = "cargo install wasmtime-cli --version 48.0.8 --locked --no-default-features \
     --features serve,run,component-model,component-model-async,cranelift,pooling-allocator,\
     parallel-compilation";

/// Requests per kept instance; as good as without end.
const REUSE_MAX: &str = "1000000000";

/// How often the kernel counts cpu time per second, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guest {
    Hello,
    Hello03,
    Echo,
}

impl Guest {
    pub(crate) fn parse(name: Option<&str>) -> Self {
        match name {
            Some("hello-0.3") => Self::Hello03,
            Some("echo") => Self::Echo,
            _ => Self::Hello,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Hello03 => "hello-0.3",
            Self::Echo => "echo",
        }
    }

    pub(crate) fn component(self) -> Vec<u8> {
        match self {
            Self::Hello => hello_component(),
            Self::Hello03 => hello_component_0_3(),
            Self::Echo => echo_component(),
        }
    }
}

/// A server process; killed when dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// This program as the server `kind`.
    pub(crate) fn start(kind: &str, guest: Guest) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command
            .args([kind, guest.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("the server has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self { process, address })
    }

    /// Cpu time of the process so far, of the guest and of the system for it.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // After the name, which may hold anything: user time is the 12th field, system time the next.
        let (_, fields) = stat.rsplit_once(')').ok_or("no process status")?;
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = times.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `wasmtime serve`, of the release that we are built on.
pub(crate) struct Wasmtime {
    program: PathBuf,
    components: TempDir,
}

impl Wasmtime {
    /// The program named by `HYPERMESH_WASMTIME`, or found on `PATH`; else why there is none.
    pub(crate) fn find() -> Result<Self, String> {
        let named = std::env::var_os("HYPERMESH_WASMTIME");
        let program = PathBuf::from(named.unwrap_or_else(|| OsString::from("wasmtime")));
        let hint = format!("no wasmtime {WASMTIME_VERSION} found, install with\n  {INSTALL}");
        let version = Command::new(&program).arg("--version").output();
        let version = version.map_err(|_| hint.clone())?.stdout;
        let version = String::from_utf8_lossy(&version).into_owned();
        if version.split_whitespace().nth(1) != Some(WASMTIME_VERSION) {
            let (program, version) = (program.display(), version.trim());
            return Err(format!("{program} is `{version}`: {hint}"));
        }
        let components = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok(Self {
            program,
            components,
        })
    }

    /// Starts it on a free port: with a fresh instance per request, or with kept ones. Its own
    /// defaults otherwise, but with `resident` memory as our pool and the bare server's have it.
    pub(crate) fn serve(
        &self,
        guest: Guest,
        keep: bool,
        resident: bool,
    ) -> Result<Server, Failure> {
        let component = self.components.path().join(guest.name());
        std::fs::write(&component, guest.component())?;
        let mut command = Command::new(&self.program);
        command.args(["serve", "--addr", "127.0.0.1:0"]);
        command.args([
            "--max-instance-reuse-count",
            if keep { REUSE_MAX } else { "1" },
        ]);
        command.args(["--max-instance-concurrent-reuse-count", "1"]);
        if resident {
            command.args(["-O", "pooling-memory-keep-resident=1048576"]);
            command.args(["-O", "pooling-table-keep-resident=65536"]);
            command.args(["-O", "pooling-pagemap-scan=y"]);
        }
        Self::spawn(command, &component)
    }

    fn spawn(mut command: Command, component: &Path) -> Result<Server, Failure> {
        let mut process = command
            .arg(component)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(process.stderr.take().ok_or("no output of wasmtime")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let address = line
            .trim()
            .rsplit_once("http://")
            .map(|(_, address)| address);
        let address = address.ok_or_else(|| format!("wasmtime serve says: {line}"))?;
        let address = address.trim_end_matches('/').parse()?;
        // Read on, or what it complains about would fill the pipe and stop it.
        std::thread::spawn(move || complaints(output));
        Ok(Server { process, address })
    }
}

/// Reads to the end; shows the beginning.
fn complaints(mut output: impl BufRead) {
    let mut first = String::new();
    if output.read_line(&mut first).is_ok() && !first.is_empty() {
        tell(&format!("wasmtime serve: {}", first.trim_end()));
    }
    // It ends when the process does.
    let _ = std::io::copy(&mut output, &mut std::io::sink());
}

#[expect(clippy::print_stderr, reason = "a benchmark says what it does")]
pub(crate) fn tell(text: &str) {
    eprintln!("{text}");
}
