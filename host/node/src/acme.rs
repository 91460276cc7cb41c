//! A certificate for HTTPS from an authority that speaks ACME (RFC 8555): obtained, kept, renewed.
//! Never serves with it; [`Shown`] does.

mod attempt;
mod challenges;
mod config;
mod keep;
mod schedule;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::unix_ms;
use crate::ingress_tls::{Facts, Shown, certified};

pub(crate) use challenges::Challenges;
pub use config::{AcmeConfig, AcmeName, Directory, ParseAcmeNameError, ParseDirectoryError};
pub use wire::OpenAcmeError;

use attempt::{Attempt, AttemptError};
use keep::{Attempts, Keeping, Kept};
use schedule::{Schedule, Validity};
use wire::Wire;

/// Longest sleep at once: the wall clock may be set meanwhile.
const LOOK_PAUSE: Duration = Duration::from_secs(600);
/// How long one attempt may take, with all that the authority keeps it waiting.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(600);

/// Keeps one certificate, from the first one on.
pub(crate) struct Acme {
    config: AcmeConfig,
    keeping: Keeping,
    wire: Wire,
    plain_http: bool,
    provider: Arc<CryptoProvider>,
    shown: Arc<Shown>,
    schedule: Schedule,
    attempts: Attempts,
    worked: Option<String>,
}

impl Acme {
    /// Shows what an earlier run obtained, if it did.
    ///
    /// # Errors
    /// [`OpenAcmeError`] if the directory cannot be asked at all.
    pub(crate) fn open(
        config: &AcmeConfig,
        folder: PathBuf,
        plain_http: bool,
        provider: &Arc<CryptoProvider>,
        shown: Arc<Shown>,
    ) -> Result<Self, OpenAcmeError> {
        let keeping = Keeping::new(folder);
        let mut opened = Self {
            wire: Wire::new(config, provider)?,
            attempts: keeping.attempts(config),
            config: config.clone(),
            keeping,
            plain_http,
            provider: Arc::clone(provider),
            shown,
            schedule: Schedule::default(),
            worked: None,
        };
        if let Some(kept) = opened.keeping.certificate() {
            let fits = kept.fits(&opened.config);
            match opened.show(&kept) {
                // What was ordered for other names serves until there is what is wanted now.
                Ok(facts) if fits => opened.schedule.held(validity(&facts)),
                Ok(_) => {}
                Err(error) => tracing::warn!("the kept certificate is not shown: {error}"),
            }
        }
        Ok(opened)
    }

    /// Obtains and renews until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        if self.shown.certificate().is_none() {
            let names = self.config.listed();
            tracing::info!("HTTPS has no certificate for {names} yet: handshakes fail until then");
        }
        if self.attempts.failures > 0 {
            let count = self.attempts.failures;
            let problem = format!("attempts that failed before this start: {count}");
            self.shown.say(Some(problem), Some(self.attempts.retry_ms));
        }
        loop {
            let wait_ms = self.schedule.wait_ms(unix_ms(), &self.attempts);
            if wait_ms > 0 {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_millis(wait_ms).min(LOOK_PAUSE)) => {}
                }
                continue;
            }
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = self.attempt() => result,
            };
            self.shown.challenges().clear();
            match result.and_then(|kept| self.take(kept)) {
                Ok(()) => {}
                Err(error) => self.failed(&error),
            }
        }
    }

    /// One order from its beginning to its end.
    async fn attempt(&mut self) -> Result<Kept, AttemptError> {
        let attempt = Attempt {
            config: self.config.clone(),
            keeping: self.keeping.clone(),
            wire: self.wire.clone(),
            shown: Arc::clone(&self.shown),
            prefer_http: self.prefer_http(),
            plain_http: self.plain_http,
        };
        // A task of its own: whatever an authority answers, it ends no more than this.
        let mut tasks = JoinSet::new();
        tasks.spawn(attempt.order());
        match tokio::time::timeout(ATTEMPT_TIME_MAX, tasks.join_next()).await {
            Ok(Some(Ok(result))) => result,
            Ok(Some(Err(_)) | None) => Err(AttemptError::Broken),
            Err(_) => Err(AttemptError::Timeout),
        }
    }

    /// The kind of challenge that worked last comes first; after each failure, the other one.
    fn prefer_http(&self) -> bool {
        let first = self.worked.as_deref() == Some(attempt::HTTP_01);
        self.plain_http && (first ^ (self.attempts.failures % 2 == 1))
    }

    /// Keeps and shows what was obtained.
    fn take(&mut self, kept: Kept) -> Result<(), AttemptError> {
        let facts = self.show(&kept)?;
        self.keeping.keep_certificate(&kept)?;
        let validity = validity(&facts);
        self.schedule.held(validity);
        let (names, issuer) = (self.config.listed(), &facts.issuer);
        tracing::info!("HTTPS shows a certificate for {names} by {issuer}");
        if validity.renew_ms() <= unix_ms() {
            // As a failure, so that a wrong clock does not order without end.
            return Err(AttemptError::DueAtOnce);
        }
        self.attempts = Attempts::none(&self.config);
        self.keeping.keep_attempts(&self.attempts)?;
        Ok(())
    }

    fn show(&mut self, kept: &Kept) -> Result<Facts, AttemptError> {
        let (chain, key) = (kept.chain.as_bytes(), kept.key.as_bytes());
        let (certified, facts) = certified(chain, key, &self.provider)?;
        let missing = kept.names.iter().find(|name| !facts.names.contains(name));
        if let Some(name) = missing {
            let name = name.clone();
            return Err(AttemptError::NotCovered { name });
        }
        // First, so that nobody is shown the new one with the problem of before.
        self.shown.say(None, None);
        self.shown.show(certified, &facts);
        self.worked.clone_from(&kept.challenge);
        Ok(facts)
    }

    fn failed(&mut self, error: &AttemptError) {
        let told_ms = self.wire.told_to_wait_ms();
        let pause_ms = schedule::pause_ms(self.attempts.failures, chance(), told_ms);
        let retry_ms = unix_ms().saturating_add(pause_ms);
        self.attempts.failures = self.attempts.failures.saturating_add(1);
        self.attempts.retry_ms = retry_ms;
        let names = self.config.listed();
        let seconds = pause_ms / 1_000;
        tracing::warn!("no new certificate for {names}: {error}; tried again in {seconds} s");
        self.shown.say(Some(error.to_string()), Some(retry_ms));
        if let Err(error) = self.keeping.keep_attempts(&self.attempts) {
            // Then only a restart asks sooner than it should.
            tracing::warn!("{error}");
        }
    }
}

fn validity(facts: &Facts) -> Validity {
    Validity {
        from_ms: facts.not_before_ms,
        to_ms: facts.not_after_ms,
    }
}

/// Spreads attempts of many nodes; without entropy they are merely not spread.
fn chance() -> u16 {
    let mut bytes = [0; 2];
    let _ = getrandom::fill(&mut bytes);
    u16::from_le_bytes(bytes)
}
