//! `cargo bench -p hypermesh-benches --bench idle -- [--seconds N]`: what fabrics of one and of four
//! nodes cost while nobody asks anything of them: cpu time and bytes written of each process. The
//! program is the one that `NEXUS` names: build it with `cargo build --release --bin nexus`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hypermesh_benches::{Failure, table};

const FABRICS: [usize; 2] = [1, 4];
/// Pause after a start, for what the start itself still writes.
const SETTLES_AFTER: Duration = Duration::from_secs(20);
const MEASURED: Duration = Duration::from_secs(120);
const STARTS_WITHIN: Duration = Duration::from_secs(60);

fn main() -> Result<(), Failure> {
    let program = program()?;
    let seconds = argument("--seconds").map(|text| text.parse()).transpose()?;
    let time = seconds.map_or(MEASURED, Duration::from_secs);
    let mut rows = Vec::new();
    for nodes in FABRICS {
        let fabric = Fabric::start(&program, nodes)?;
        std::thread::sleep(SETTLES_AFTER);
        let before = fabric.usage()?;
        std::thread::sleep(time);
        let after = fabric.usage()?;
        for (node, (before, after)) in before.into_iter().zip(after).enumerate() {
            let percent = (after.0 - before.0) / time.as_secs_f64() * 100.0;
            let written = (after.1 - before.1) * 3_600.0 / time.as_secs_f64();
            rows.push(vec![
                format!("fabric::idle/nodes={nodes}/node={node}"),
                format!("{percent:.2}"),
                format!("{written:.0}"),
            ]);
        }
    }
    let head = ["bench", "% of a core", "bytes written an hour"];
    println!("{}", table(&head, &rows));
    Ok(())
}

/// The program that `NEXUS` names, else the one that was built beside this benchmark.
fn program() -> Result<PathBuf, Failure> {
    if let Some(named) = std::env::var_os("NEXUS") {
        return Ok(named.into());
    }
    let this = std::env::current_exe()?;
    let beside = this.parent().and_then(Path::parent);
    let built = beside.map(|folder| folder.join("nexus"));
    let built = built.filter(|program| program.is_file());
    built.ok_or_else(|| "no program: build it, or name it in NEXUS".into())
}

/// Nodes in processes of their own. Gone when dropped.
struct Fabric {
    nodes: Vec<Child>,
    folder: tempfile::TempDir,
}

impl Fabric {
    fn start(program: &Path, count: usize) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let data = |node| folder.path().join(format!("node-{node}"));
        let founding = folder.path().join("fabric.json");
        let sockets = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0"));
        let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
        let mut found = nexus(program);
        found.args(["fabric", "found"]).arg(&founding);
        let mut addresses = Vec::new();
        for (node, socket) in sockets.iter().enumerate() {
            let address = socket.local_addr()?.to_string();
            let mut prepare = nexus(program);
            prepare.arg("--data").arg(data(node));
            let ids = output(prepare.args(["node", "prepare", "-o", "json"]))?;
            let (id, operator) = (field(&ids, "node")?, field(&ids, "operator")?);
            found.args(["--validator", &format!("{id}@{address}")]);
            found.args(["--operator", operator]);
            addresses.push(address);
        }
        output(&mut found)?;
        drop(sockets);
        let mut fabric = Self {
            nodes: Vec::new(),
            folder,
        };
        let data = |node| fabric.folder.path().join(format!("node-{node}"));
        for (node, address) in addresses.iter().enumerate() {
            let mut up = nexus(program);
            up.arg("--data").arg(data(node));
            up.args(["up", "--stoq", address, "--founding"])
                .arg(&founding);
            up.stdout(Stdio::null()).stderr(Stdio::null());
            fabric.nodes.push(up.spawn()?);
        }
        let began = Instant::now();
        for node in 0..count {
            let is_up = || {
                let mut status = nexus(program);
                status.arg("--data").arg(data(node));
                output(status.args(["node", "status"])).is_ok()
            };
            while !is_up() {
                if began.elapsed() > STARTS_WITHIN {
                    return Err("a node does not start".into());
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(fabric)
    }

    /// Cpu seconds and bytes written of each process so far (proc(5)).
    fn usage(&self) -> Result<Vec<(f64, f64)>, Failure> {
        const TICKS_PER_SECOND: f64 = 100.0;
        let usage = |node: &Child| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", node.id()))?;
            let after_name = stat.rsplit(')').next().unwrap_or_default();
            // User and system time are fields 14 and 15; this text begins with field 3.
            let fields = after_name.split_whitespace().skip(11).take(2);
            let ticks: f64 = fields.filter_map(|field| field.parse::<f64>().ok()).sum();
            let io = fs::read_to_string(format!("/proc/{}/io", node.id()))?;
            let written = io
                .lines()
                .find_map(|line| line.strip_prefix("write_bytes: "));
            let written: f64 = written.ok_or("no write_bytes in proc")?.parse()?;
            Ok((ticks / TICKS_PER_SECOND, written))
        };
        self.nodes.iter().map(usage).collect()
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // One that ended already is not there to be killed.
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

fn nexus(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_remove("NEXUS_DATA").stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A text field of a flat JSON object.
fn field<'a>(json: &'a str, name: &str) -> Result<&'a str, Failure> {
    let (_, rest) = json
        .split_once(&format!("\"{name}\": \""))
        .ok_or_else(|| format!("no {name} in {json}"))?;
    let value = rest.split('"').next();
    value.ok_or_else(|| format!("no {name} in {json}").into())
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}
