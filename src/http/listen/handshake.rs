//! How a TLS connection begins.

use std::io;

use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::reload::Tls;
use super::sendfile::Socket;

/// Shakes hands. Nothing comes of it where an authority only permission to see that a name is this server's.
pub(super) async fn accept<S: Socket>(tls: &Tls, io: S) -> io::Result<Option<TlsStream<S>>> {
    let Some(challenges) = tls.challenges().filter(|challenges| !challenges.is_idle()) else {
        return TlsAcceptor::from(tls.current()).accept(io).await.map(Some);
    };
    let start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
    let Some(answer) = challenges.for_client(&start.client_hello()) else {
        return start.into_stream(tls.current()).await.map(Some);
    };
    let mut shown = start.into_stream(answer).await?;
    shown.shutdown().await?;
    Ok(None)
}
