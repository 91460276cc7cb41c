//! `nexus asset`: what this machine has.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use assets::{MeasureError, NVML, System};
use serde::Serialize;
use types::{Amount, AssetFacts, AssetType};

use crate::cli::{AssetCommand, Global};
use crate::commands::sharing;
use crate::exit::{Exit, Failure, Outcome};
use crate::session::{self, Session, own_data};
use crate::table::Table;
use crate::{terminal, text};

/// One asset, or why there is none.
#[derive(Serialize)]
struct Measured {
    #[serde(rename = "type")]
    asset_type: AssetType,
    #[serde(flatten)]
    found: Found,
}

#[derive(Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
enum Found {
    Measured { amount: Amount, facts: AssetFacts },
    Absent { why: String },
    Failed { why: String },
}

pub(crate) async fn run(global: &Global, command: AssetCommand) -> Outcome {
    match command {
        AssetCommand::Measure => measure(global),
        AssetCommand::Shared(command) => sharing::run(&Session::new(global)?, command).await,
    }
}

fn measure(global: &Global) -> Outcome {
    let data = match global.data() {
        Some(data) => data.to_owned(),
        None => own_data()?,
    };
    let found = all(&data);
    terminal::print(&session::format(global.output, &found, || table(&found))?)?;
    let failed = found
        .iter()
        .filter(|one| matches!(one.found, Found::Failed { .. }));
    match failed.count() {
        0 => Ok(()),
        count => {
            let what = text::count(count, "type");
            let message = format!("{what} of assets could not be measured");
            Err(Failure::new(Exit::Failed, message))
        }
    }
}

fn all(data: &Path) -> Vec<Measured> {
    let system = System::host();
    let mut found = vec![
        one(
            AssetType::Cpu,
            assets::measure_cpu(&system).map(AssetFacts::Cpu),
        ),
        one(
            AssetType::Memory,
            assets::measure_memory(&system).map(AssetFacts::Memory),
        ),
        one(
            AssetType::Storage,
            assets::measure_storage(&existing(data))
                .map(AssetFacts::Storage)
                .map_err(MeasureError::from),
        ),
        absent(
            AssetType::Network,
            "only a node has sessions to read: nexus stoq sessions",
        ),
    ];
    match assets::measure_gpus(OsStr::new(NVML)) {
        Ok(devices) => {
            let devices = devices.into_iter().map(AssetFacts::Gpu);
            found.extend(devices.map(|device| one(AssetType::Gpu, Ok(device))));
        }
        Err(error) => found.push(one(AssetType::Gpu, Err(error))),
    }
    found.push(absent(
        AssetType::Container,
        "only a node has instances to count: nexus ps",
    ));
    found
}

/// `data`, or what is above it where it is to be made.
fn existing(data: &Path) -> PathBuf {
    let absolute = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let mut ancestors = absolute.ancestors();
    let found = ancestors.find(|path| path.is_dir());
    found.map_or(absolute.clone(), Path::to_owned)
}

fn one(asset_type: AssetType, measured: Result<AssetFacts, MeasureError>) -> Measured {
    let found = match measured {
        Ok(facts) => Found::Measured {
            amount: facts.capacity(),
            facts,
        },
        Err(MeasureError::Absent { why }) => Found::Absent { why },
        Err(error) => Found::Failed {
            why: error.to_string(),
        },
    };
    Measured { asset_type, found }
}

fn absent(asset_type: AssetType, why: &str) -> Measured {
    let why = why.to_owned();
    let found = Found::Absent { why };
    Measured { asset_type, found }
}

fn table(found: &[Measured]) -> String {
    let mut table = Table::new(&["TYPE", "AMOUNT", "DETAILS"]);
    for Measured { asset_type, found } in found {
        let (amount, details) = match found {
            Found::Measured { amount, facts } => (shown(*amount, facts), details(facts)),
            Found::Absent { why } => ("absent".to_owned(), why.clone()),
            Found::Failed { why } => ("unknown".to_owned(), why.clone()),
        };
        table.row(vec![asset_type.to_string(), amount, details]);
    }
    table.render()
}

/// As many digits of bytes as people read; the exact number is in the other forms of output.
fn shown(amount: Amount, facts: &AssetFacts) -> String {
    match facts.asset_type() {
        AssetType::Memory | AssetType::Storage => text::size(amount.0),
        other => amount.of(other).to_string(),
    }
}

pub(crate) fn details(facts: &AssetFacts) -> String {
    match facts {
        AssetFacts::Cpu(cpu) => format!(
            "{}, {} calibration units per second and core",
            cpu.architecture, cpu.calibrated
        ),
        AssetFacts::Memory(_) => "available now".to_owned(),
        AssetFacts::Storage(disk) => format!(
            "free; writes {}/s, reads {}/s, flushes in {} us",
            text::size(disk.write_bytes_per_s),
            text::size(disk.read_bytes_per_s),
            disk.flush_us
        ),
        AssetFacts::Network(net) => format!(
            "round trip {} us, loss {} ppm, {} sessions",
            net.rtt_us, net.loss_ppm, net.sessions
        ),
        AssetFacts::Gpu(gpu) => format!(
            "{} {}, {}, {}",
            gpu.vendor,
            gpu.model,
            text::size(gpu.memory_bytes),
            gpu.uuid
        ),
        AssetFacts::Container(container) => {
            format!("{}/{}", container.workload, container.component)
        }
    }
}
