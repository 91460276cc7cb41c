//! `nexus lease`: parts of assets for a while.

use admin::LeaseStatus;
use ledger::LeaseOperation;
use serde::Serialize;
use types::{Amount, AssetId, AssetType, ByteSize, Digest, LeaseId, Principal};

use crate::cli::LeaseCommand;
use crate::exit::{Exit, Failure, Outcome};
use crate::session::{Numbered, Session};
use crate::table::{Fields, Table};
use crate::text;

/// A lease that was granted.
#[derive(Serialize)]
struct Granted {
    lease: LeaseId,
    height: u64,
    transaction: Digest,
}

pub(crate) async fn run(session: &Session, command: LeaseCommand) -> Outcome {
    match command {
        LeaseCommand::List { holder } => list(session, holder).await,
        LeaseCommand::Show { lease } => show(session, &lease).await,
        LeaseCommand::Grant {
            asset,
            amount,
            term,
            to,
        } => {
            let holder = match to {
                Some(holder) => holder,
                None => session.operator().await?,
            };
            let operation = LeaseOperation::Grant {
                asset,
                holder,
                amount: amount_of(&amount, asset.asset_type())?,
                term_ms: term.as_u64(),
            };
            grant(session, &asset, operation).await
        }
        LeaseCommand::Renew { lease, term } => {
            let term_ms = term.as_u64();
            let until = text::duration(term_ms);
            let text = format!("{} holds for {until}", lease.short());
            let renew = LeaseOperation::Renew { lease, term_ms };
            submit(session, &lease, renew, &text).await
        }
        LeaseCommand::Release { lease } => {
            let text = format!("{} is given back", lease.short());
            let release = LeaseOperation::Release { lease };
            submit(session, &lease, release, &text).await
        }
    }
}

async fn grant(session: &Session, asset: &AssetId, operation: LeaseOperation) -> Outcome {
    let done = session.submit_proven(asset, operation).await?;
    let Numbered {
        report,
        principal,
        nonce,
    } = done;
    let granted = Granted {
        lease: LeaseId::new(&principal, nonce, asset),
        height: report.height,
        transaction: report.id,
    };
    session.show(&granted, || {
        format!("granted at height {}\n{}", granted.height, granted.lease)
    })
}

async fn submit(
    session: &Session,
    lease: &LeaseId,
    operation: LeaseOperation,
    text: &str,
) -> Outcome {
    let known = session.client().lease(lease).await;
    let asset = known.map_err(|error| session.failure(error))?.asset;
    let report = session.submit_proven(&asset, operation).await?.report;
    session.show(&report, || format!("{text}, height {}", report.height))
}

async fn list(session: &Session, holder: Option<Principal>) -> Outcome {
    let holder = match holder {
        Some(holder) => holder,
        None => session.operator().await?,
    };
    let list = session.client().leases(&holder).await;
    let list = list.map_err(|error| session.failure(error))?;
    session.show(&list, || render(&list.leases))
}

async fn show(session: &Session, lease: &LeaseId) -> Outcome {
    let status = session.client().lease(lease).await;
    let status = status.map_err(|error| session.failure(error))?;
    session.show(&status, || {
        let mut fields = Fields::default();
        fields.add("lease", lease.to_string());
        fields.add("asset", status.asset.to_string());
        fields.add("holder", status.holder.to_string());
        fields.add("amount", shown(status.amount, status.asset.asset_type()));
        fields.add("granted", text::moment(status.granted_ms));
        fields.add("ends", text::moment(status.expires_ms));
        fields.add("remaining", text::duration(status.remaining_ms));
        fields.render(0)
    })
}

/// Leases as a table.
pub(crate) fn render(leases: &[LeaseStatus]) -> String {
    let mut table = Table::new(&["LEASE", "ASSET", "HOLDER", "AMOUNT", "REMAINING"]);
    for lease in leases {
        table.row(vec![
            lease.id.to_string(),
            lease.asset.short(),
            lease.holder.short(),
            shown(lease.amount, lease.asset.asset_type()),
            text::duration(lease.remaining_ms),
        ]);
    }
    table.render()
}

/// An amount with as many digits as people read.
pub(crate) fn shown(amount: Amount, asset_type: AssetType) -> String {
    match asset_type {
        AssetType::Memory | AssetType::Storage => text::size(amount.0),
        other => amount.of(other).to_string(),
    }
}

/// Reads an amount in the units that people use for the type.
pub(crate) fn amount_of(text: &str, asset_type: AssetType) -> Outcome<Amount> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    match asset_type {
        AssetType::Memory | AssetType::Storage | AssetType::Network => {
            let size: ByteSize = text.parse().map_err(|error| usage(format!("{error}")))?;
            Ok(Amount(size.as_u64()))
        }
        AssetType::Container => {
            let count = text.parse().map_err(|_| {
                usage(format!("`{text}` is no number of instances: expected 1, 2 or more"))
            })?;
            Ok(Amount(count))
        }
        AssetType::Cpu | AssetType::Gpu => thousandths(text).map(Amount).ok_or_else(|| {
            usage(format!(
                "`{text}` is no amount of {asset_type}: expected a number such as 2 or 0.5, with at \
                 most three decimals"
            ))
        }),
    }
}

fn thousandths(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 3 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let decimals: u64 = format!("{decimals:0<3}").parse().ok()?;
    whole.checked_mul(1_000)?.checked_add(decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_the_units_of_their_type() {
        let read = |text, kind| amount_of(text, kind).map(|amount| amount.0).ok();
        assert_eq!(read("2", AssetType::Cpu), Some(2_000));
        assert_eq!(read("0.5", AssetType::Cpu), Some(500));
        assert_eq!(read("1.25", AssetType::Gpu), Some(1_250));
        assert_eq!(read("0.001", AssetType::Cpu), Some(1));
        assert_eq!(read("64MiB", AssetType::Memory), Some(64 << 20));
        assert_eq!(read("10MB", AssetType::Network), Some(10_000_000));
        assert_eq!(read("3", AssetType::Container), Some(3));
        for bad in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "1.2345",
            "1,5",
            "99999999999999999999",
            "two",
        ] {
            assert_eq!(read(bad, AssetType::Cpu), None, "{bad}");
        }
        assert_eq!(read("64", AssetType::Memory), None);
        assert_eq!(read("1.5", AssetType::Container), None);
    }
}
