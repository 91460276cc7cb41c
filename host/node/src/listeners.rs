//! The sockets that clients of workloads connect to. Never reads a request.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::data_dir::DataDir;
use crate::error::StartNodeError;
use crate::ingress;
use crate::ingress_tls::{IngressTls, Shown};
use crate::shared::Shared;

/// Bound sockets that nobody accepts from yet.
pub(crate) struct Listeners {
    http: Option<(TcpListener, SocketAddr)>,
    https: Option<(TcpListener, SocketAddr, IngressTls)>,
}

impl Listeners {
    /// Binds what the configuration asks for.
    ///
    /// # Errors
    /// [`StartNodeError`] if an address cannot be had or a certificate cannot be used.
    pub(crate) async fn bind(config: &Config, data_dir: &DataDir) -> Result<Self, StartNodeError> {
        let http = match config.http {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let https = match &config.https {
            Some((address, certificate)) => {
                let tls = IngressTls::open(certificate, data_dir, http.is_some())?;
                let (listener, bound) = listen(*address).await?;
                Some((listener, bound, tls))
            }
            None => None,
        };
        Ok(Self { http, https })
    }

    pub(crate) fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|(_, address)| *address)
    }

    pub(crate) fn https(&self) -> Option<SocketAddr> {
        self.https.as_ref().map(|(_, address, _)| *address)
    }

    /// What handshakes of HTTPS are shown, if it is served.
    pub(crate) fn shown(&self) -> Option<Arc<Shown>> {
        self.https.as_ref().map(|(_, _, tls)| tls.shown())
    }

    /// Begins to serve; the tasks end after `stop`, once what is in flight has ended.
    pub(crate) fn serve(self, shared: &Arc<Shared>, stop: &CancellationToken) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if let Some((listener, _)) = self.http {
            tasks.spawn(ingress::serve(
                Arc::clone(shared),
                listener,
                None,
                stop.clone(),
            ));
        }
        if let Some((listener, _, tls)) = self.https {
            let acceptor = Some(tls.acceptor());
            tasks.spawn(ingress::serve(
                Arc::clone(shared),
                listener,
                acceptor,
                stop.clone(),
            ));
            tasks.spawn(tls.keep_fresh(stop.clone()));
        }
        tasks
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartNodeError> {
    let failed = |source| StartNodeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
