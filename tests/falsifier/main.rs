//! A whole node that lies about what it ran: `falsifier DATA IP:PORT FOUNDING output|fuel`, a directory
//! as `nexus node prepare` leaves it, where to listen, the file of the founding, and what to lie about.
//! Runs until it is killed. Never part of `nexus`.

use std::error::Error;
use std::path::Path;

use node::{Config, Founding, Lie, Node};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, address, founding, lie] = arguments.as_slice() else {
        return Err("usage: falsifier DATA IP:PORT FOUNDING output|fuel".into());
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
    let lie = Lie::named(lie).ok_or("expected `output` or `fuel`")?;
    let node = Node::start_falsifying(config, lie).await?;
    Err(node.failed().await.into())
}
