//! A whole node that lies to its peers: `equivocator DATA IP:PORT FOUNDING`, a directory as
//! `nexus node prepare` leaves it, where to listen, and the file of the founding. Runs until it is
//! killed. Never part of `nexus`.

use std::error::Error;
use std::path::Path;

use node::{Config, Founding, Node};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, address, founding] = arguments.as_slice() else {
        return Err("usage: equivocator DATA IP:PORT FOUNDING".into());
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("warn,hypermesh=info"))
        .with_writer(std::io::stderr)
        .init();
    let config = Config {
        data_dir: data.into(),
        founding: Some(Founding::read(Path::new(founding))?),
        stoq: Some(address.parse()?),
        ..Config::default()
    };
    let node = Node::start_equivocating(config).await?;
    Err(node.failed().await.into())
}
