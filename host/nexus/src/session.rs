//! What a command works with: the node's client, the operator's key, the form of output.

use std::io;
use std::path::{Path, PathBuf};

use admin::{Acceptance, Client, ClientError, PrincipalStatus, TransactionReport};
use ledger::{Genesis, Operation, Provable, Proven, Transaction};
use node::RemoteNode;
use serde::Serialize;
use trust::{IdentityError, SecretKey};
use types::{AssetId, FabricId, Name, Principal};

use crate::cli::{Global, Output};
use crate::contexts::{Contexts, NodeAddress, NodeArg};
use crate::exit::{Exit, Failure, Outcome};
use crate::folders;
use crate::patience::patiently;
use crate::proving;
use crate::terminal;

/// How many further blocks may carry a transaction: enough for a queue, too few to surprise later.
pub(crate) const EXPIRY_HEIGHTS: u64 = 100;

/// Commands that run at once race for the signer's next nonce; every lost race means that another
/// one went through, so this many at once all get their turn.
const NONCE_ATTEMPTS_MAX: usize = 32;

/// A command's surroundings.
pub(crate) struct Session {
    data: PathBuf,
    /// Whether the user named the directory, by flag or environment.
    data_was_given: bool,
    /// Whom the user signs as.
    operator_key: PathBuf,
    output: Output,
    client: Client,
}

/// A transaction that took effect.
pub(crate) struct Numbered {
    /// When it did.
    pub(crate) report: TransactionReport,
    /// Who signed it.
    pub(crate) principal: Principal,
    /// The nonce that it carried.
    pub(crate) nonce: u64,
}

impl Session {
    /// Finds the data directory that the flags, the environment or the defaults name.
    ///
    /// # Errors
    /// [`Failure`] if nothing names one.
    pub(crate) fn new(global: &Global) -> Outcome<Self> {
        let data = match global.data() {
            Some(data) => data.to_owned(),
            None => own_data()?,
        };
        let local = Self::at(data, global.data().is_some(), global.output);
        match Elsewhere::find(global, &local.data)? {
            Some(elsewhere) => elsewhere.session(local),
            None => Ok(local),
        }
    }

    /// A session with the node that keeps its data in `data`.
    pub(crate) fn at(data: PathBuf, data_was_given: bool, output: Output) -> Self {
        let client = Client::new(data.join(admin::SOCKET_FILE));
        Self {
            data_was_given,
            operator_key: data.join(admin::OPERATOR_KEY_FILE),
            data,
            output,
            client,
        }
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn output(&self) -> Output {
        self.output
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Prints a result: the table for people, else `value` itself.
    pub(crate) fn show(&self, value: &impl Serialize, table: impl FnOnce() -> String) -> Outcome {
        terminal::print(&format(self.output, value, table)?)
    }

    /// What a client's error means for the user of this session.
    pub(crate) fn failure(&self, error: ClientError) -> Failure {
        let unreachable = match &error {
            ClientError::Unreachable { source, .. } => Some(source.kind()),
            _ => None,
        };
        let failure = Failure::from(error);
        match unreachable {
            None => failure,
            Some(io::ErrorKind::PermissionDenied) => {
                failure.hint("The socket is for the user who started the node only: be that user.")
            }
            Some(_) => failure.hint(self.start_hint()),
        }
    }

    /// How to get a node where none answered.
    fn start_hint(&self) -> String {
        let demo = demo_data()
            .ok()
            .filter(|demo| demo.join(admin::SOCKET_FILE).exists());
        match demo {
            Some(demo) if !self.data_was_given => format!(
                "A demo may run: add `--data {}`. Or start a node with `nexus up`.",
                demo.display()
            ),
            _ if self.data_was_given => format!(
                "Start one with `nexus up --data {}`, or name another directory with --data or \
                 NEXUS_DATA.",
                self.data.display()
            ),
            _ => "Start one with `nexus up`, or name its directory with --data or NEXUS_DATA."
                .to_owned(),
        }
    }

    /// Signs `operation` with the operator's key and waits until it is final and durable.
    ///
    /// # Errors
    /// [`Failure`] if no node took it, or if the ledger refused it.
    pub(crate) async fn submit(&self, operation: Operation) -> Outcome<TransactionReport> {
        let key = self.operator_key().await?;
        let done = self.sign_until_taken(&key, async |_| Ok(operation.clone()));
        Ok(done.await?.report)
    }

    /// As [`Self::submit`], with the four proofs that operations on assets need; and with what names the
    /// things that a transaction makes.
    ///
    /// # Errors
    /// As [`Self::submit`], and if the host of the asset does not answer for it.
    pub(crate) async fn submit_proven<O: Provable + Clone>(
        &self,
        asset: &AssetId,
        operation: O,
    ) -> Outcome<Numbered> {
        let key = self.operator_key().await?;
        self.sign_until_taken(&key, async |signer| {
            let parts = proving::parts(self, signer, asset, &operation).await?;
            let proven = Proven::seal(operation.clone(), parts, |bytes| key.sign(bytes));
            Ok(O::admitted(proven))
        })
        .await
    }

    /// Makes and signs an operation until its nonce is the one that is due.
    async fn sign_until_taken(
        &self,
        key: &SecretKey,
        make: impl AsyncFn(&PrincipalStatus) -> Outcome<Operation>,
    ) -> Outcome<Numbered> {
        let mut attempt = 1;
        loop {
            let signer = self.client.principal(&key.public()).await;
            let signer = signer.map_err(|error| self.failure(error))?;
            let transaction = Transaction {
                fabric: signer.fabric,
                principal: signer.principal,
                nonce: signer.nonce,
                expires_at: signer.height.saturating_add(EXPIRY_HEIGHTS),
                operation: make(&signer).await?,
            };
            let signature = key.sign(&transaction.signing_bytes());
            let submitted = self.client.submit(transaction.encode_signed(&signature));
            let report = patiently(&self.client, submitted).await;
            let report = report.map_err(|error| self.failure(error))?;
            let Acceptance::Refused { reason, message } = &report.outcome else {
                return Ok(Numbered {
                    report,
                    principal: signer.principal,
                    nonce: signer.nonce,
                });
            };
            if reason != "nonce" || attempt == NONCE_ATTEMPTS_MAX {
                return Err(refusal(reason, message));
            }
            attempt += 1;
        }
    }

    /// Who signs here.
    pub(crate) async fn operator(&self) -> Outcome<Principal> {
        Ok(self.operator_key().await?.public())
    }

    /// The operator's key. Where it is missing, a missing node is the likelier reason.
    async fn operator_key(&self) -> Outcome<SecretKey> {
        match SecretKey::load(&self.operator_key) {
            Ok(key) => Ok(key),
            Err(error) => {
                let missing = matches!(&error, IdentityError::Io { source, .. }
                    if source.kind() == io::ErrorKind::NotFound);
                if missing && let Err(error) = self.client.node().await {
                    return Err(self.failure(error));
                }
                Err(error.into())
            }
        }
    }

    /// The workload's status; none if nothing has that name.
    pub(crate) async fn workload(&self, name: &Name) -> Outcome<Option<admin::WorkloadStatus>> {
        match self
            .client
            .workload(name)
            .await
            .map_err(|error| self.failure(error))
        {
            Ok(status) => Ok(Some(status)),
            Err(failure) if failure.exit() == Exit::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// A result as it is printed: the table for people, else `value` itself.
pub(crate) fn format(
    output: Output,
    value: &impl Serialize,
    table: impl FnOnce() -> String,
) -> Outcome<String> {
    let unprintable = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, format!("cannot print the answer: {error}"))
    };
    match output {
        Output::Table => Ok(table()),
        Output::Json => serde_json::to_string_pretty(value).map_err(|e| unprintable(&e)),
        Output::Yaml => serde_saphyr::to_string(value)
            .map(|text| text.trim_end().to_owned())
            .map_err(|e| unprintable(&e)),
    }
}

/// What a refusal by the ledger means for scripts.
fn refusal(reason: &str, message: &str) -> Failure {
    let exit = match reason {
        "unknown-deployment" | "unknown-component" => Exit::NotFound,
        _ => Exit::Refused,
    };
    Failure::new(exit, message)
}

/// A node that is not on this machine, as the command line or the current context names it.
struct Elsewhere {
    address: NodeAddress,
    fabric: FabricId,
    operator_key: PathBuf,
}

impl Elsewhere {
    /// The node that is meant; none if it is the one of the data directory. What the command line
    /// says goes before the current context.
    fn find(global: &Global, data: &Path) -> Outcome<Option<Self>> {
        let named = match &global.node {
            Some(NodeArg::Address(address)) => {
                return Self::with_data(address.clone(), data).map(Some);
            }
            Some(NodeArg::Context(name)) => Some(name.clone()),
            None => None,
        };
        if named.is_none() && global.data().is_some() {
            return Ok(None);
        }
        let contexts = Contexts::load()?;
        let Some(name) = named.or_else(|| contexts.current.clone()) else {
            return Ok(None);
        };
        let context = contexts.named(&name)?.clone();
        Ok(Some(Self {
            address: NodeAddress {
                node: context.node,
                relay: context.relay,
                addresses: context.addresses,
            },
            fabric: context.fabric,
            operator_key: context.key,
        }))
    }

    /// With the fabric and the operator of a data directory on this machine.
    fn with_data(address: NodeAddress, data: &Path) -> Outcome<Self> {
        let path = data.join("genesis");
        let genesis = std::fs::read(&path).map_err(|error| {
            let message = format!("cannot read {}: {error}", path.display());
            Failure::new(Exit::Usage, message).hint(
                "ID@ADDR takes fabric and key from a data directory; without one, make a context: \
                 nexus context add",
            )
        })?;
        let genesis = Genesis::decode(&genesis)
            .map_err(|error| Failure::new(Exit::Failed, error).context(path.display()))?;
        Ok(Self {
            address,
            fabric: genesis.fabric_id(),
            operator_key: data.join(admin::OPERATOR_KEY_FILE),
        })
    }

    fn session(self, local: Session) -> Outcome<Session> {
        let operator = SecretKey::load(&self.operator_key)?;
        let NodeAddress {
            node,
            relay,
            addresses,
        } = self.address;
        let remote = RemoteNode {
            fabric: self.fabric,
            node,
            relay,
            addresses,
            operator,
        };
        Ok(Session {
            client: Client::over(node::remote(remote)),
            operator_key: self.operator_key,
            ..local
        })
    }
}

/// Where the node of this machine keeps its data, unless it is told.
pub(crate) fn own_data() -> Outcome<PathBuf> {
    folders::data("hypermesh")
}

/// Where the demo keeps its data, unless it is told: beside the default, never within it.
pub(crate) fn demo_data() -> Outcome<PathBuf> {
    folders::data("hypermesh-demo")
}
