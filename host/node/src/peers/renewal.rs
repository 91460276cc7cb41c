//! Renewing this node's certificate: by time, when an operator asks, and when peers refuse the one
//! that is shown. Never knows how a certificate is made or logged.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stoq::Endpoint;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use trust::{IssuedCertificate, Rotation};
use types::Digest;

use crate::clock::unix_ms;
use crate::peers::credentials;
use crate::shared::Shared;

/// Wishes that may wait; each costs one transaction.
const WISHES_MAX: usize = 4;
/// Longest sleep before the clock is read again: a machine that was suspended wakes late.
const CLOCK_CHECK: Duration = Duration::from_secs(60);
/// Pause between attempts to have a certificate logged.
const LOG_RETRY: Duration = Duration::from_secs(5);
/// Pause between certificates that peers refuse: another one each time would help nobody.
const REPLACE_PAUSE_MS: u64 = 10_000;

/// A renewal before its time.
enum Wish {
    /// An operator asks for it. Peers see it when it is logged.
    LogFirst(oneshot::Sender<Result<Digest, String>>),
    /// No peer takes the one that is shown, so the next one is shown before it is logged.
    ShowFirst,
}

/// How others ask for a renewal.
#[derive(Clone)]
pub(crate) struct Renewals {
    wishes: mpsc::Sender<Wish>,
    shown: watch::Receiver<Arc<IssuedCertificate>>,
}

impl Renewals {
    /// Begins to renew.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        endpoint: Endpoint,
        path: PathBuf,
        certificate: IssuedCertificate,
        stop: &CancellationToken,
    ) -> Self {
        let (wishes, wished) = mpsc::channel(WISHES_MAX);
        let (shown, seen) = watch::channel(Arc::new(certificate));
        let logging = log_shown(Arc::clone(shared), seen.clone());
        let renewing = Renewing {
            shared: Arc::clone(shared),
            endpoint,
            path,
            shown,
            replaced_at_ms: 0,
        };
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = logging => {}
                () = renewing.run(wished) => {}
            }
        });
        Self {
            wishes,
            shown: seen,
        }
    }

    /// The certificate that peers are shown.
    pub(crate) fn shown(&self) -> Digest {
        self.shown.borrow().fingerprint
    }

    /// Gives this node a new certificate; returns once it is logged and shown.
    pub(crate) async fn renew(&self) -> Result<Digest, String> {
        let (done, told) = oneshot::channel();
        let stopping = || "the node is stopping".to_owned();
        let wish = self.wishes.send(Wish::LogFirst(done)).await;
        wish.map_err(|_| stopping())?;
        told.await.map_err(|_| stopping())?
    }

    /// Peers refuse the certificate that is shown, and not this node.
    pub(crate) fn replace(&self) {
        // If wishes wait already, this one is not needed.
        let _ = self.wishes.try_send(Wish::ShowFirst);
    }
}

/// Sees to it that what is shown is logged. A new certificate ends the attempts for the one before.
async fn log_shown(shared: Arc<Shared>, mut shown: watch::Receiver<Arc<IssuedCertificate>>) {
    loop {
        let certificate = Arc::clone(&shown.borrow_and_update());
        let logging = async {
            loop {
                // A node that is about to join logs its first certificate with that.
                let mut revision = shared.revision.subscribe();
                if revision.wait_for(|_| shared.is_member()).await.is_err() {
                    return;
                }
                match credentials::log(&shared, &certificate).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::warn!("this node's certificate is not logged: {error}");
                    }
                }
                tokio::time::sleep(LOG_RETRY).await;
            }
        };
        tokio::select! {
            () = async { logging.await; std::future::pending().await } => {}
            changed = shown.changed() => if changed.is_err() { return },
        }
    }
}

struct Renewing {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    path: PathBuf,
    shown: watch::Sender<Arc<IssuedCertificate>>,
    replaced_at_ms: u64,
}

impl Renewing {
    async fn run(mut self, mut wishes: mpsc::Receiver<Wish>) {
        let mut rotation = self.rotation();
        loop {
            let wait = Duration::from_millis(rotation.wait_ms(unix_ms())).min(CLOCK_CHECK);
            let wish = tokio::select! {
                () = tokio::time::sleep(wait) => None,
                wish = wishes.recv() => match wish {
                    Some(wish) => Some(wish),
                    None => return,
                },
            };
            let answer = match wish {
                Some(Wish::ShowFirst) => {
                    if self.replace() {
                        rotation = self.rotation();
                    }
                    continue;
                }
                Some(Wish::LogFirst(answer)) => Some(answer),
                None if rotation.wait_ms(unix_ms()) > 0 => continue,
                None => None,
            };
            let renewed = tokio::select! {
                renewed = self.renew() => renewed,
                // Without peers that take the old certificate, the new one cannot be logged.
                () = until_refused(&mut wishes) => {
                    let replaced = self.replace();
                    replaced.then(|| self.shown.borrow().fingerprint).ok_or_else(|| {
                        "no peer takes this node's certificate".to_owned()
                    })
                }
            };
            rotation = match &renewed {
                Ok(_) => self.rotation(),
                Err(error) => {
                    tracing::warn!("{error}");
                    rotation.failed(unix_ms());
                    rotation
                }
            };
            if let Some(answer) = answer {
                // Who asked may be gone.
                let _ = answer.send(renewed);
            }
        }
    }

    fn rotation(&self) -> Rotation {
        let shown = self.shown.borrow();
        Rotation::of(shown.not_before_ms, shown.not_after_ms)
    }

    /// A new certificate, logged and then shown.
    async fn renew(&self) -> Result<Digest, String> {
        if !self.shared.is_member() {
            return Err("this node is not a member of its fabric".to_owned());
        }
        let renewed = credentials::renew(&self.shared, &self.endpoint, &self.path).await;
        let certificate = renewed.map_err(|error| error.to_string())?;
        Ok(self.show(certificate))
    }

    /// A new certificate, shown at once; whether there is one.
    fn replace(&mut self) -> bool {
        let now_ms = unix_ms();
        if now_ms.saturating_sub(self.replaced_at_ms) < REPLACE_PAUSE_MS {
            return false;
        }
        self.replaced_at_ms = now_ms;
        match credentials::replace(&self.shared, &self.endpoint, &self.path) {
            Ok(certificate) => {
                self.show(certificate);
                true
            }
            Err(error) => {
                tracing::warn!("{error}");
                false
            }
        }
    }

    fn show(&self, certificate: IssuedCertificate) -> Digest {
        let fingerprint = certificate.fingerprint;
        tracing::info!(%fingerprint, "this node shows a new certificate");
        self.shown.send_replace(Arc::new(certificate));
        fingerprint
    }
}

/// Returns when a peer refuses the certificate that is shown; other wishes are answered by then.
async fn until_refused(wishes: &mut mpsc::Receiver<Wish>) {
    loop {
        match wishes.recv().await {
            Some(Wish::ShowFirst) => return,
            Some(Wish::LogFirst(answer)) => {
                let _ = answer.send(Err("a renewal is under way already".to_owned()));
            }
            None => std::future::pending().await,
        }
    }
}
