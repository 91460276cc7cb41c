//! What a certificate says of itself, for people and for whoever renews it. Judges nothing.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The DNS names that it is good for.
    pub(crate) names: Vec<String>,
    /// Who issued it: its common name, or all of the name if it has none.
    pub(crate) issuer: String,
    /// Good from then on, Unix milliseconds.
    pub(crate) not_before_ms: u64,
    /// Good until then, Unix milliseconds.
    pub(crate) not_after_ms: u64,
}

impl Facts {
    /// Reads the leaf of a chain; none if it is not X.509.
    pub(crate) fn of(leaf: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let names = certificate.extensions().iter().flat_map(|extension| {
            let names: &[GeneralName<'_>] = match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => &names.general_names,
                _ => &[],
            };
            names.iter().filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
        });
        let names = names.collect();
        let issuer = certificate.issuer();
        let common = issuer.iter_common_name().next();
        let common = common.and_then(|name| name.as_str().ok());
        let ms = |time: x509_parser::time::ASN1Time| {
            u64::try_from(time.timestamp())
                .unwrap_or(0)
                .saturating_mul(1_000)
        };
        let validity = certificate.validity();
        Some(Self {
            names,
            issuer: common.map_or_else(|| issuer.to_string(), str::to_owned),
            not_before_ms: ms(validity.not_before),
            not_after_ms: ms(validity.not_after),
        })
    }
}
