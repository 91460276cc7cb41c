//! `cargo bench -p hypermesh-benches --bench certificate`: from the wish for a new certificate until a
//! peer has shaken hands with the node that shows it, beside what that consists of: a transaction to
//! finality, and a handshake with the certificate of before.
//!
//! One node with one validator. The peer is an operator on the loopback interface who dials anew each
//! time and asks for the genesis.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::time::{Duration, Instant};

use hypermesh_benches::{Fabric, Failure, ms, percentile, table};
use ledger::{Operation, Role, RoleOperation};
use types::PublicKey;

const ROUNDS: u8 = 200;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let fabric = Fabric::start_listening().await?;
    let (mut transactions, mut dials, mut issues) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        let grant = RoleOperation::Grant {
            principal: PublicKey::from_bytes([number; 32]),
            role: Role::Viewer,
        };
        let begun = Instant::now();
        fabric.submit(Operation::Role(grant)).await?;
        transactions.push(begun.elapsed());
        let begun = Instant::now();
        fabric.dial().await?;
        dials.push(begun.elapsed());
        let begun = Instant::now();
        fabric.rotate().await?;
        fabric.dial().await?;
        issues.push(begun.elapsed());
    }
    let row = |name: &str, samples: &mut Vec<Duration>| {
        let (p50, p99) = (percentile(samples, 500), percentile(samples, 990));
        vec![name.to_owned(), ms(p50), ms(p99)]
    };
    let rows = [
        row("certificate::transaction (baseline)", &mut transactions),
        row("certificate::dial/certificate=old (baseline)", &mut dials),
        row("certificate::issue_to_usable", &mut issues),
    ];
    println!("{}", table(&["bench", "p50 ms", "p99 ms"], &rows));
    Ok(())
}
