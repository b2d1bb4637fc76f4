//! The TLS handshake.

use std::io;

use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::reload::Tls;
use super::sendfile::Socket;

/// Performs the handshake. Returns `None` if it was only a challenge of a certificate authority.
pub(super) async fn accept<S: Socket>(tls: &Tls, io: S) -> io::Result<Option<TlsStream<S>>> {
    let Some(challenges) = tls.challenges().filter(|challenges| !challenges.is_idle()) else {
        return TlsAcceptor::from(tls.current()).accept(io).await.map(Some);
    };
    let start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
    let Some(config) = challenges.for_client(&start.client_hello()) else {
        return start.into_stream(tls.current()).await.map(Some);
    };
    let mut stream = start.into_stream(config).await?;
    stream.shutdown().await?;
    Ok(None)
}
