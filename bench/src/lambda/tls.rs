//! TLS in front of the embedded engine, as DynamoDB has it: the first handshake is a large part of a cold start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::CertifiedKey;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::Result;

/// The paths of the trusted certificates on Debian and Amazon Linux.
const TRUSTED: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// A TLS terminator, which runs until it is dropped.
pub(crate) struct Terminator {
    url: String,
    trusted: PathBuf,
    task: JoinHandle<()>,
}

impl Terminator {
    /// Starts the terminator in front of the engine at `engine`. It writes its certificate, appended to the system's
    /// trusted ones, to a file in `directory`.
    pub(crate) async fn start(engine: &str, directory: &Path) -> Result<Self> {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let system = TRUSTED.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let trusted = std::path::absolute(directory.join("trusted.pem"))?;
        std::fs::write(&trusted, system + &cert.pem())?;

        let key = PrivateKeyDer::try_from(signing_key.serialize_der())?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
        let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![cert.der().clone()], key)?));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let engine = engine.trim_start_matches("http://").to_owned();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, engine) = (acceptor.clone(), engine.clone());
                // The function reports a broken connection.
                tokio::spawn(async move { drop(forward(stream, &acceptor, &engine).await) });
            }
        });
        Ok(Self { url, trusted, task })
    }

    /// The URL of the terminator.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The environment variable with which a process trusts the certificate, and its value.
    pub(crate) fn trust(&self) -> (String, String) {
        ("SSL_CERT_FILE".to_owned(), self.trusted.display().to_string())
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(stream: TcpStream, acceptor: &TlsAcceptor, engine: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut outer = acceptor.accept(stream).await?;
    let mut inner = TcpStream::connect(engine).await?;
    inner.set_nodelay(true)?;
    copy_bidirectional(&mut outer, &mut inner).await.map(drop)
}
