//! `orlop healthcheck`: asks the server through its admin socket, and then whether its port answers.
//!
//! The socket knows the address that the server really listens on, whatever flags it was given, and needs
//! neither a certificate's name nor a network. Where there is none, on a read-only disk, the configured
//! address has to do.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::table::write_out;
use super::{Failure, exit_code};
use crate::config::Config;
use crate::server::admin::{ApiClient, Status};
use crate::server::runtime;

/// How long each part may take.
const PATIENCE: Duration = Duration::from_secs(4);

pub(super) fn run(config: &Config) -> Result<ExitCode, Failure> {
    let runtime = runtime().map_err(|error| Failure::Other(format!("no threads: {error}")))?;
    let asked = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(config)).await });
    let status = asked.map_err(|_| Failure::Other("the server does not answer".into()))??;
    let address = status.as_ref().map_or(config.server.listen.0, |status| status.listen);
    if let Some(status) = &status
        && !status.readiness.ready
    {
        return Err(Failure::Other(status.readiness.problems.join("; ")));
    }
    let tls = config.has_tls();
    knock(reachable(address), tls || status.is_some())?;
    write_out("ready\n");
    Ok(exit_code(true))
}

async fn ask(config: &Config) -> Result<Option<Status>, Failure> {
    match ApiClient::connect(&config.storage.data).await? {
        Some(mut client) => Ok(Some(client.status().await?)),
        None => Ok(None),
    }
}

/// An address of this machine for one that stands for all of them.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Whether somebody answers at `address`; in plain HTTP and as ready, unless that is known already.
fn knock(address: SocketAddr, connect_only: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Other(format!("{address}: {error}"));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    if connect_only {
        return Ok(());
    }
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream.take(64 << 10).read_to_string(&mut answer).map_err(failed)?;
    if answer.starts_with("HTTP/1.1 200") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("no answer", |(_, body)| body);
    Err(Failure::Other(body.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_reached_by_the_loopback() {
        let reach = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(reach("0.0.0.0:5000"), "127.0.0.1:5000");
        assert_eq!(reach("[::]:5000"), "[::1]:5000");
        assert_eq!(reach("10.0.0.7:80"), "10.0.0.7:80");
    }
}
