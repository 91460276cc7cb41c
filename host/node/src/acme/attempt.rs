//! One order at a certificate authority, from the account to the chain. Decides nothing about when.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationHandle, AuthorizationStatus, ChallengeType, Error,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::acme::AcmeConfig;
use crate::acme::keep::{KeepError, Keeping, Kept, KeptAccount};
use crate::acme::wire::Wire;
use crate::ingress_tls::{CertifyError, Shown};

/// How often and how long the authority is asked whether it is done with one step.
const POLL: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(180));
/// Longest token: authorities send 43 bytes.
const TOKEN_BYTES_MAX: usize = 256;
/// What an authority says of an account that it does not have.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// The challenge that is answered over plain HTTP, as its RFC writes it.
pub(super) const HTTP_01: &str = "http-01";
const TLS_ALPN_01: &str = "tls-alpn-01";

/// No certificate this time.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    /// The authority refused, was not reached, or sent what is no answer.
    #[error("{0}")]
    Refused(#[from] Error),
    /// It offers no challenge that this node can answer.
    #[error("the authority offers no challenge for {name} that is answered here ({offered})")]
    NoChallenge {
        /// For which name.
        name: String,
        /// The kinds that it offers.
        offered: String,
    },
    /// It could not validate a name.
    #[error("the authority could not validate {name} by {kind}: {reason}")]
    Invalid {
        /// Which name.
        name: String,
        /// By which challenge.
        kind: String,
        /// What it says.
        reason: String,
    },
    /// It ended the order without a reason.
    #[error("the authority ended the order as {0}")]
    Ended(String),
    /// Its answer breaks the protocol.
    #[error("the authority breaks the protocol: {0}")]
    Protocol(&'static str),
    /// No key or no request for a certificate.
    #[error("cannot make the request for a certificate: {0}")]
    Request(#[from] rcgen::Error),
    /// What came is no certificate.
    #[error("the authority sent what is no certificate: {0}")]
    Certificate(#[from] CertifyError),
    /// What came is for something else.
    #[error("the authority sent a certificate that is not good for {name}")]
    NotCovered {
        /// The name that is not in it.
        name: String,
    },
    /// What came is too old already.
    #[error("the new certificate is to be renewed already: is the clock of this machine right?")]
    DueAtOnce,
    /// The disk.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// It took too long.
    #[error("the authority kept the order waiting for too long")]
    Timeout,
    /// The code that speaks to it.
    #[error("the order broke off by a defect of this program; see the log")]
    Broken,
}

/// One attempt and what it needs.
pub(super) struct Attempt {
    pub(super) config: AcmeConfig,
    pub(super) keeping: Keeping,
    pub(super) wire: Wire,
    pub(super) shown: Arc<Shown>,
    /// Whether http-01 is answered before tls-alpn-01.
    pub(super) prefer_http: bool,
    /// Whether http-01 is answered at all.
    pub(super) plain_http: bool,
}

impl Attempt {
    /// The whole order.
    pub(super) async fn order(self) -> Result<Kept, AttemptError> {
        let account = self.account().await?;
        let result = self.order_with(&account).await;
        if let Err(AttemptError::Refused(Error::Api(problem))) = &result
            && problem.r#type.as_deref() == Some(NO_ACCOUNT)
        {
            self.keeping.forget_account();
        }
        result
    }

    async fn order_with(&self, account: &Account) -> Result<Kept, AttemptError> {
        let names = self.config.texts();
        let identifiers: Vec<_> = names.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        let challenge = match order.state().status {
            OrderStatus::Pending => self.validate(&mut order).await?,
            // The authority remembers that it validated these names for this account.
            OrderStatus::Ready => None,
            status => return Err(AttemptError::Ended(format!("{status:?}").to_lowercase())),
        };
        let key = KeyPair::generate()?;
        let mut request = CertificateParams::new(names.clone())?;
        request.distinguished_name = DistinguishedName::new();
        let request = request.serialize_request(&key)?;
        order.finalize_csr(request.der()).await?;
        let chain = order.poll_certificate(&POLL).await?;
        Ok(Kept {
            directory: self.config.directory.to_string(),
            names,
            challenge,
            chain,
            key: key.serialize_pem(),
        })
    }

    /// The account of earlier attempts, or a new one; kept before anything is ordered with it.
    async fn account(&self) -> Result<Account, AttemptError> {
        let http = Box::new(self.wire.clone());
        let builder = Account::builder_with_http(http);
        let contact = self.config.contact.clone();
        let address = contact.as_ref().map(|contact| format!("mailto:{contact}"));
        let addresses: Vec<_> = address.iter().map(String::as_str).collect();
        let kept = self.keeping.account::<AccountCredentials>(&self.config);
        if let Some(kept) = kept.filter(|kept| kept.contact == contact) {
            return Ok(builder.from_credentials(kept.credentials).await?);
        }
        let directory = self.config.directory.to_string();
        let new = NewAccount {
            contact: &addresses,
            // `--acme-accept-terms` is required.
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) = builder.create(&new, directory.clone(), None).await?;
        self.keeping.keep_account(&KeptAccount {
            directory,
            contact,
            credentials,
        })?;
        Ok(account)
    }

    /// Lets the authority see, for each name, that this node answers for it. Returns the kind of the
    /// last challenge.
    async fn validate(&self, order: &mut Order) -> Result<Option<String>, AttemptError> {
        let mut kind = None;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue,
                status => return Err(AttemptError::Ended(format!("{status:?}").to_lowercase())),
            }
            kind = Some(self.answer(&mut authorization).await?);
        }
        let outcome = order.poll_ready(&POLL).await;
        if let Ok(OrderStatus::Ready) = outcome {
            return Ok(kind);
        }
        if let Some(error) = refusal(order).await {
            return Err(error);
        }
        let status = outcome?;
        Err(AttemptError::Ended(format!("{status:?}").to_lowercase()))
    }

    /// Offers the answer to one challenge of an authorization, then says so.
    async fn answer<'a>(
        &self,
        authorization: &'a mut AuthorizationHandle<'a>,
    ) -> Result<String, AttemptError> {
        let name = authorization.identifier().to_string();
        // An answer for a name that nobody asked about would be shown to whoever asks for it.
        if !self.config.texts().contains(&name) {
            return Err(AttemptError::Protocol(
                "it asks about a name that was not ordered",
            ));
        }
        let kind = self.choose(authorization, &name)?;
        let challenge = authorization.challenge(kind.clone());
        let mut challenge = challenge.ok_or(AttemptError::Protocol("a challenge is gone"))?;
        let proof = challenge.key_authorization();
        let word = match kind {
            ChallengeType::Http01 => {
                let token = challenge.token.clone();
                let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
                // RFC 8555, section 8.3: only these, so that the token is no path.
                if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !token.bytes().all(good) {
                    return Err(AttemptError::Protocol("a token is not base64url"));
                }
                let challenges = self.shown.challenges();
                challenges.offer_text(token, proof.as_str().to_owned());
                HTTP_01
            }
            _ => {
                let certificate = validation_certificate(&name, proof.digest().as_ref())?;
                let challenges = self.shown.challenges();
                challenges.offer_certificate(name.clone(), certificate);
                TLS_ALPN_01
            }
        };
        let ready = challenge.set_ready().await;
        ready.map_err(|error| match error {
            // An authority that is quick has looked already.
            Error::Api(problem) => AttemptError::Invalid {
                name,
                kind: word.to_owned(),
                reason: problem.to_string(),
            },
            error => error.into(),
        })?;
        Ok(word.to_owned())
    }

    /// The challenge to answer: of those that are offered and can be answered, the preferred one.
    fn choose(
        &self,
        authorization: &AuthorizationHandle<'_>,
        name: &str,
    ) -> Result<ChallengeType, AttemptError> {
        let offered = |kind: &ChallengeType| {
            let mut kinds = authorization.challenges.iter();
            kinds.any(|challenge| challenge.r#type == *kind)
        };
        let mut kinds = vec![ChallengeType::TlsAlpn01];
        if self.plain_http {
            kinds.push(ChallengeType::Http01);
        }
        if self.prefer_http {
            kinds.reverse();
        }
        kinds.into_iter().find(offered).ok_or_else(|| {
            let kinds = authorization.challenges.iter();
            let kinds: Vec<_> = kinds.map(|challenge| word(&challenge.r#type)).collect();
            AttemptError::NoChallenge {
                name: name.to_owned(),
                offered: kinds.join(", "),
            }
        })
    }
}

/// Why names of a failed order were not validated, as far as the authority says.
async fn refusal(order: &mut Order) -> Option<AttemptError> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        // An authority that does not answer this either has been heard enough.
        authorization.refresh().await.ok()?;
        let mut challenges = authorization.challenges.iter();
        let failed = challenges.find_map(|challenge| {
            let error = challenge.error.as_ref()?;
            Some((word(&challenge.r#type), error.to_string()))
        });
        if let Some((kind, reason)) = failed {
            let name = authorization.identifier().to_string();
            return Some(AttemptError::Invalid { name, kind, reason });
        }
    }
    None
}

/// The certificate of tls-alpn-01 (RFC 8737, section 3): signed by itself, with the proof in it.
fn validation_certificate(name: &str, digest: &[u8]) -> Result<CertifiedKey, AttemptError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![certificate.der().clone()];
    let key = aws_lc_rs::sign::any_supported_type(&key);
    let key = key.map_err(|error| CertifyError::Key(error.to_string()))?;
    // The checked way would refuse the extension, which is critical and known to authorities only.
    Ok(CertifiedKey::new(chain, key))
}

fn word(kind: &ChallengeType) -> String {
    match kind {
        ChallengeType::Http01 => HTTP_01.to_owned(),
        ChallengeType::TlsAlpn01 => TLS_ALPN_01.to_owned(),
        ChallengeType::Dns01 => "dns-01".to_owned(),
        other => format!("{other:?}"),
    }
}
