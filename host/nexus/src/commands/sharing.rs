//! `nexus asset`, as far as the ledger knows of it: register, share, take out of use.

use admin::{AssetList, AssetStatus, ContainerName, KeepRequest, RegisterReport, RegisterRequest};
use ledger::AssetOperation;
use types::{AssetId, AssetPolicy, AssetType, Digest, Principal};

use crate::cli::{ContainerArgs, PolicyArgs, SharedAssetCommand};
use crate::commands::asset::details;
use crate::commands::{challenge, lease};
use crate::exit::{Exit, Failure, Outcome};
use crate::session::Session;
use crate::table::{Fields, Table};
use crate::text;

pub(crate) async fn run(session: &Session, command: SharedAssetCommand) -> Outcome {
    match command {
        SharedAssetCommand::List => list(session).await,
        SharedAssetCommand::Show { asset } => show(session, &asset).await,
        SharedAssetCommand::Register {
            asset_type,
            container,
            owner,
            policy,
        } => register(session, asset_type, container, owner, policy).await,
        SharedAssetCommand::Remeasure { asset } => {
            let report = session.client().measure_asset(&asset).await;
            told(session, report, "measured")
        }
        SharedAssetCommand::Share { asset, policy } => {
            let known = find(session, &asset).await?;
            let policy = policy.over(known.policy);
            let text = format!("{} is {} now", asset.short(), policy.privacy);
            submit(
                session,
                &asset,
                AssetOperation::Update { asset, policy },
                &text,
            )
            .await
        }
        SharedAssetCommand::Transfer { asset, owner } => {
            let text = format!("{} belongs to {} now", asset.short(), owner.short());
            submit(
                session,
                &asset,
                AssetOperation::Transfer { asset, owner },
                &text,
            )
            .await
        }
        SharedAssetCommand::Drain { asset } => {
            let text = format!("{} grants and renews no lease", asset.short());
            submit(session, &asset, AssetOperation::Drain { asset }, &text).await
        }
        SharedAssetCommand::Resume { asset } => {
            let text = format!("{} grants leases again", asset.short());
            submit(session, &asset, AssetOperation::Resume { asset }, &text).await
        }
        SharedAssetCommand::Retire { asset } => {
            let text = format!("{} is gone", asset.short());
            submit(session, &asset, AssetOperation::Retire { asset }, &text).await
        }
        SharedAssetCommand::Keep { asset, artifact } => keep(session, &asset, artifact).await,
        SharedAssetCommand::Forget { asset, artifact } => {
            let text = format!("{} keeps {artifact} no more", asset.short());
            let root = artifact;
            submit(
                session,
                &asset,
                AssetOperation::Forget { asset, root },
                &text,
            )
            .await
        }
        SharedAssetCommand::Challenge { asset } => challenge::run(session, &asset).await,
    }
}

async fn register(
    session: &Session,
    asset_type: AssetType,
    container: ContainerArgs,
    owner: Option<Principal>,
    policy: PolicyArgs,
) -> Outcome {
    let owner = match owner {
        Some(owner) => owner,
        None => session.operator().await?,
    };
    let request = RegisterRequest {
        asset_type,
        container: component_of(asset_type, container)?,
        owner,
        policy: policy.over(AssetPolicy::private()),
    };
    let report = session.client().register_asset(&request).await;
    told(session, report, "registered")
}

/// The component that is named, which a container needs and nothing else has.
fn component_of(asset_type: AssetType, named: ContainerArgs) -> Outcome<Option<ContainerName>> {
    let wrong = match (asset_type, named.name()) {
        (AssetType::Container, None) => {
            "a container is of one component: name it with --workload NAME --component NAME"
                .to_owned()
        }
        (AssetType::Container, named) => return Ok(named),
        (_, None) => return Ok(None),
        (other, Some(_)) => {
            format!("{other} is of no component: leave out --workload and --component")
        }
    };
    Err(Failure::new(Exit::Usage, wrong))
}

async fn keep(session: &Session, asset: &AssetId, artifact: Digest) -> Outcome {
    let request = KeepRequest { root: artifact };
    let report = session.client().keep(asset, &request).await;
    let report = report.map_err(|error| session.failure(error))?;
    let height = report.height;
    session.show(&report, || {
        format!("{} keeps {artifact}, height {height}", asset.short())
    })
}

async fn find(session: &Session, asset: &AssetId) -> Outcome<AssetStatus> {
    let found = session.client().asset(asset).await;
    found.map_err(|error| session.failure(error))
}

async fn submit(
    session: &Session,
    asset: &AssetId,
    operation: AssetOperation,
    text: &str,
) -> Outcome {
    let report = session.submit_proven(asset, operation).await?.report;
    session.show(&report, || format!("{text}, height {}", report.height))
}

fn told(
    session: &Session,
    report: Result<RegisterReport, admin::ClientError>,
    verb: &str,
) -> Outcome {
    let report = report.map_err(|error| session.failure(error))?;
    session.show(&report, || {
        let amount = lease::shown(report.facts.capacity(), report.asset.asset_type());
        let height = report.transaction.height;
        format!("{verb} {amount} at height {height}\n{}", report.asset)
    })
}

async fn list(session: &Session) -> Outcome {
    let list = session.client().assets().await;
    let list = list.map_err(|error| session.failure(error))?;
    session.show(&list, || render(&list))
}

fn render(list: &AssetList) -> String {
    let mut table = Table::new(&["ASSET", "HOST", "PRIVACY", "SHARED", "LEASED", "LEASES"]);
    for asset in &list.assets {
        let kind = asset.id.asset_type();
        let state = if asset.space.failed_at.is_some() {
            format!("{} (failed)", asset.policy.privacy)
        } else if asset.drained {
            format!("{} (drained)", asset.policy.privacy)
        } else {
            asset.policy.privacy.to_string()
        };
        table.row(vec![
            asset.id.to_string(),
            asset.host.short(),
            state,
            lease::shown(asset.shared, kind),
            lease::shown(asset.leased, kind),
            asset.leases.len().to_string(),
        ]);
    }
    let mut text = table.render();
    if list.more > 0 {
        text.push_str(&format!("\nand {} more", list.more));
    }
    text
}

async fn show(session: &Session, asset: &AssetId) -> Outcome {
    let status = find(session, asset).await?;
    session.show(&status, || {
        let kind = asset.asset_type();
        let policy = &status.policy;
        let mut fields = Fields::default();
        fields.add("asset", asset.to_string());
        fields.add("address", status.address.to_string());
        fields.add("address as IPv6", status.address.ipv6().to_string());
        fields.add("host", status.host.to_string());
        fields.add("owner", status.owner.to_string());
        let amount = lease::shown(status.facts.capacity(), kind);
        fields.add("measured", format!("{amount} ({})", details(&status.facts)));
        fields.add("measured at", text::moment(status.measured_ms));
        fields.add("privacy", policy.privacy.to_string());
        for peer in &policy.peers {
            fields.add("peer", peer.to_string());
        }
        for (name, value) in &policy.labels {
            fields.add("label", format!("{name}={value}"));
        }
        let shared = lease::shown(status.shared, kind);
        fields.add("shared", format!("{shared} ({} %)", policy.share_percent));
        fields.add("leased", lease::shown(status.leased, kind));
        let (held, most) = (status.leases.len(), policy.concurrency);
        fields.add("leases", format!("{held} of {most}"));
        fields.add("longest term", text::duration(policy.term_ms_max));
        if policy.bond > 0 {
            fields.add("bond of a lease", policy.bond.to_string());
        }
        if status.drained {
            fields.add("drained", "yes".to_owned());
        }
        for kept in &status.space.kept {
            let size = text::size(kept.bytes);
            fields.add("keeps", format!("{} ({size})", kept.root));
        }
        if let Some(at) = status.space.open_at {
            fields.add("challenged", format!("at height {at}"));
        }
        if let Some(at) = status.space.proven_at {
            fields.add("space proven", format!("at height {at}"));
        }
        if let Some(at) = status.space.failed_at {
            fields.add("space failed", format!("at height {at}: no leases"));
        }
        let mut shown = fields.render(0);
        if !status.leases.is_empty() {
            shown.push('\n');
            shown.push_str(&lease::render(&status.leases));
        }
        shown
    })
}
