//! A fabric of one node in this process, and a client that deploys as `nexus` does.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use admin::{Acceptance, ArtifactUse, Client, InvokeRequest, WorkloadState};
use ledger::{Operation, Transaction};
use node::{Config, Founding, Node, RemoteNode};
use tempfile::TempDir;
use trust::SecretKey;
use types::{ComponentKind, ComponentSpec, Digest, Name, Replication, Route, WorkloadSpec};

/// What can go wrong in a benchmark ends it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A running fabric in a folder of its own.
pub struct Fabric {
    node: Node,
    client: Client,
    operator: SecretKey,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

/// The admitted form of a hello service under `path`.
///
/// # Panics
/// If `name` or `path` are not valid.
#[must_use]
pub fn hello_spec(name: &str, path: &str) -> WorkloadSpec {
    let name = Name::new(name).unwrap_or_else(|error| panic!("{error}"));
    let artifact = Digest::of(&crate::hello_component());
    let component = ComponentSpec {
        routes: vec![Route::new("*", path).unwrap_or_else(|error| panic!("{error}"))],
        ..ComponentSpec::new(name.clone(), ComponentKind::Http, artifact)
    };
    WorkloadSpec {
        name,
        components: vec![component],
    }
}

impl Fabric {
    /// Starts a node on a free port.
    ///
    /// # Errors
    /// What [`Node::start`] says.
    pub async fn start() -> Result<Self, Failure> {
        Self::start_at(None).await
    }

    /// As [`Fabric::start`], and listens for other nodes and operators.
    ///
    /// # Errors
    /// What [`Node::start`] says.
    pub async fn start_listening() -> Result<Self, Failure> {
        Self::start_at(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).await
    }

    /// Starts nodes that found one fabric together, and waits until they are up.
    ///
    /// # Errors
    /// What [`Node::start`] says.
    pub async fn start_founded(count: usize) -> Result<Vec<Self>, Failure> {
        let (mut founders, mut validators, mut operators) = (Vec::new(), BTreeMap::new(), vec![]);
        for _ in 0..count {
            let folder = tempfile::tempdir()?;
            let prepared = node::prepare(&folder.path().join("data"))?;
            // Free now; nobody takes it within a moment but by accident.
            let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            validators.insert(prepared.node, vec![address]);
            operators.push(prepared.operator);
            founders.push((folder, address));
        }
        let founding = Founding::new(validators, operators)?;
        let mut starting = tokio::task::JoinSet::new();
        for (folder, address) in founders {
            // All at once: none is up before most of them are.
            starting.spawn(Self::start_in(
                folder,
                Some(address),
                Some(founding.clone()),
            ));
        }
        let mut nodes = Vec::new();
        while let Some(node) = starting.join_next().await {
            nodes.push(node??);
        }
        Ok(nodes)
    }

    async fn start_at(stoq: Option<SocketAddr>) -> Result<Self, Failure> {
        Self::start_in(tempfile::tempdir()?, stoq, None).await
    }

    async fn start_in(
        folder: TempDir,
        stoq: Option<SocketAddr>,
        founding: Option<Founding>,
    ) -> Result<Self, Failure> {
        let http = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let data_dir = folder.path().join("data");
        let node = Node::start(Config {
            data_dir: data_dir.clone(),
            founding,
            http,
            stoq,
            ..Config::default()
        })
        .await?;
        let address = node.http_address().ok_or("the node serves no HTTP")?;
        let client = Client::new(node.admin_socket());
        let operator = SecretKey::load(&data_dir.join(admin::OPERATOR_KEY_FILE))?;
        Ok(Self {
            node,
            client,
            operator,
            address,
            _folder: folder,
        })
    }

    /// Where it serves HTTP.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The running node.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Dials the node as its operator from elsewhere, on a session that nobody had before, and asks
    /// for one thing.
    ///
    /// # Errors
    /// If the node does not listen or refuses the session.
    pub async fn dial(&self) -> Result<(), Failure> {
        let address = self.node.stoq_address().ok_or("the node does not listen")?;
        let operator = SecretKey::from_seed(&self.operator.expose_seed());
        let peer = Client::over(node::remote(RemoteNode {
            fabric: self.node.fabric(),
            node: self.node.id(),
            relay: None,
            addresses: vec![address],
            operator,
        }));
        peer.genesis().await?;
        Ok(())
    }

    /// Has the node issue itself a certificate, log it and show it.
    ///
    /// # Errors
    /// If the ledger does not take it.
    pub async fn rotate(&self) -> Result<(), Failure> {
        self.client.rotate().await?;
        Ok(())
    }

    /// Uploads, admits, and waits until it runs.
    ///
    /// # Errors
    /// If it is refused or does not run.
    pub async fn deploy(&self, spec: WorkloadSpec, component: Vec<u8>) -> Result<(), Failure> {
        let digest = Digest::of(&component);
        if self
            .client
            .artifact(&digest, ArtifactUse::Component)
            .await?
            .is_none()
        {
            let content = component.into();
            self.client
                .store_artifact(&digest, ArtifactUse::Component, content)
                .await?;
        }
        if let Some(problem) = self.client.check(&spec).await?.problems.first() {
            return Err(problem.message.clone().into());
        }
        let name = spec.name.clone();
        let height = self
            .submit(Operation::Deploy {
                spec,
                replaces: None,
            })
            .await?;
        let status = self.client.settled(&name, height, 10_000).await?;
        if status.state == WorkloadState::Running {
            Ok(())
        } else {
            Err(format!("{name} is {}: {:?}", status.state, status.reason).into())
        }
    }

    /// Calls an export of a workload; its result as text.
    ///
    /// # Errors
    /// If the node does not take the call or it fails.
    pub async fn invoke(
        &self,
        workload: &Name,
        export: &str,
        arguments: Vec<String>,
    ) -> Result<String, Failure> {
        self.invoke_dialled(workload, export, arguments, None).await
    }

    /// As [`Fabric::invoke`]; with a dial on that many drawn nodes, whose receipts are part of the
    /// answer.
    ///
    /// # Errors
    /// As [`Fabric::invoke`], and if too few agree.
    pub async fn invoke_dialled(
        &self,
        workload: &Name,
        export: &str,
        arguments: Vec<String>,
        replicate: Option<Replication>,
    ) -> Result<String, Failure> {
        let request = InvokeRequest {
            component: None,
            export: export.to_owned(),
            arguments,
            replicate,
            receipt: replicate.is_some(),
            here: false,
        };
        Ok(self.client.invoke(workload, &request).await?.result)
    }

    /// Submits and waits until the workload has settled.
    ///
    /// # Errors
    /// If the ledger refuses it.
    pub async fn change(&self, operation: Operation, workload: &Name) -> Result<(), Failure> {
        let height = self.submit(operation).await?;
        self.client.settled(workload, height, 10_000).await?;
        Ok(())
    }

    /// Signs and submits; returns the height of the block.
    ///
    /// # Errors
    /// If the ledger refuses it.
    pub async fn submit(&self, operation: Operation) -> Result<u64, Failure> {
        let principal = self.client.principal(&self.operator.public()).await?;
        let transaction = Transaction {
            fabric: principal.fabric,
            principal: principal.principal,
            nonce: principal.nonce,
            expires_at: principal.height + 100,
            operation,
        };
        let signature = self.operator.sign(&transaction.signing_bytes());
        let report = self
            .client
            .submit(transaction.encode_signed(&signature))
            .await?;
        match report.outcome {
            Acceptance::Applied => Ok(report.height),
            Acceptance::Refused { message, .. } => Err(message.into()),
        }
    }
}
