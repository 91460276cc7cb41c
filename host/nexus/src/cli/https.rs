//! Flags about HTTPS for workloads: where, and whose certificate.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use node::{AcmeConfig, AcmeName, CertificateFiles, Directory, HttpsCertificate};

use crate::target::address;

/// How HTTPS is served: with files, or with a certificate that the node obtains.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("https_source").args(["certificate", "acme_domain"]).multiple(false))]
pub(crate) struct HttpsArgs {
    /// Serve HTTPS for workloads at this address, too, with --certificate or --acme-domain
    #[arg(long, value_name = "IP:PORT", value_parser = address, requires = "https_source")]
    pub(crate) https: Option<SocketAddr>,
    /// The certificate for HTTPS, PEM with its chain; read again when it changes
    #[arg(
        long,
        value_name = "FILE",
        value_hint = clap::ValueHint::FilePath,
        requires = "https",
        requires = "key"
    )]
    certificate: Option<PathBuf>,
    /// The certificate's secret key, PEM
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, requires = "certificate")]
    key: Option<PathBuf>,
    /// Obtain and renew a certificate for these names, with commas between, by ACME: the authority
    /// connects to them, to port 443 (which must lead to --https) or port 80 (--http)
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "https",
        requires = "acme_accept_terms"
    )]
    acme_domain: Vec<AcmeName>,
    /// Accept the terms of service of the authority, on behalf of whoever runs this node
    #[arg(long, requires = "acme_domain")]
    acme_accept_terms: bool,
    /// Where the authority may write to
    #[arg(long, value_name = "MAIL", requires = "acme_domain", value_parser = mail)]
    acme_contact: Option<String>,
    /// The directory of the authority
    #[arg(
        long,
        value_name = "URL",
        requires = "acme_domain",
        default_value = Directory::LETS_ENCRYPT
    )]
    acme_directory: Directory,
    /// Roots, PEM, that the directory's own certificate is checked against instead of the public
    /// ones: for an authority of your own
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, requires = "acme_domain")]
    acme_root: Option<PathBuf>,
}

impl HttpsArgs {
    /// Where HTTPS is served and with what, if it is.
    pub(crate) fn wanted(&self) -> Option<(SocketAddr, HttpsCertificate)> {
        let address = self.https?;
        let files = self.certificate.clone().zip(self.key.clone());
        let certificate = match files {
            Some((certificate, key)) => {
                HttpsCertificate::Files(CertificateFiles { certificate, key })
            }
            None => HttpsCertificate::Acme(AcmeConfig {
                names: self.acme_domain.clone(),
                directory: self.acme_directory.clone(),
                contact: self.acme_contact.clone(),
                root: self.acme_root.clone(),
            }),
        };
        Some((address, certificate))
    }
}

/// A mail address, as far as it fits a `mailto` URL (RFC 8555, section 7.3: one address, no header
/// fields). Whether anybody reads it is between the authority and the operator.
fn mail(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_graphic() && !b",?%<>\"\\".contains(&byte);
    match text.split_once('@') {
        Some((user, host)) if !user.is_empty() && host.contains('.') && text.bytes().all(good) => {
            Ok(text.to_owned())
        }
        _ => Err("not a mail address, such as admin@example.org".to_owned()),
    }
}
