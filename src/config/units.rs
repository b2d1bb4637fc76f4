//! Types of setting values: durations, sizes, percentages, addresses, networks, URLs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::text::{Text, display_inner, text_serde};

text_serde!(
    Span,
    Size,
    Percent,
    Budget,
    Untagged,
    Period,
    Listen,
    Network,
    PublicUrl,
    WebOrigin,
    CollectorUrl,
    LogFilter
);
display_inner!(Listen, Network, PublicUrl, WebOrigin, CollectorUrl, LogFilter, Count);

/// Maximum duration. Timestamps plus this stay well within the range that the database stores.
const MAX_SPAN: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// A duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Creates a duration of `seconds`.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Creates a duration of `hours`.
    pub const fn hours(hours: u64) -> Self {
        Self::seconds(hours * 60 * 60)
    }
}

impl Text for Span {
    const EXPECTED: &'static str = "a duration with its unit, such as \"200ms\", \"10m\" or \"14d\"";

    fn parse(text: &str) -> Option<Self> {
        // humantime accepts a bare 0, which would be the only number without a unit.
        let unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
        let span = humantime::parse_duration(text).ok()?;
        (unit && span <= MAX_SPAN).then_some(Self(span))
    }
}

/// Seconds per day.
const DAY: u64 = 24 * 60 * 60;

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // humantime would turn many days into months, which is not what the user wrote.
        let days = self.0.as_secs() / DAY;
        if days > 0 && self.0 == Duration::from_secs(days * DAY) {
            return write!(f, "{days}d");
        }
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// Creates a size of `mebibytes`.
    pub const fn mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }
}

impl Text for Size {
    const EXPECTED: &'static str = "a size with its unit, such as \"512MiB\" or \"2GB\"";

    fn parse(text: &str) -> Option<Self> {
        let unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
        let size: ByteSize = text.parse().ok()?;
        // SQLite's maximum integer.
        (unit && i64::try_from(size.0).is_ok()).then_some(Self(size.0))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| format!("is not {}", Self::EXPECTED))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut number = self.0;
        let mut unit = 0;
        while number != 0 && number.is_multiple_of(1024) && unit + 1 < UNITS.len() {
            number /= 1024;
            unit += 1;
        }
        write!(f, "{number}{}", UNITS[unit])
    }
}

/// A percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u8);

impl Text for Percent {
    const EXPECTED: &'static str = "a share from \"1%\" to \"100%\"";

    fn parse(text: &str) -> Option<Self> {
        let percent: u8 = text.strip_suffix('%')?.parse().ok()?;
        (1..=100).contains(&percent).then_some(Self(percent))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// Maximum disk usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// A number of bytes.
    Size(Size),
    /// A share of the filesystem.
    Share(Percent),
}

impl Text for Budget {
    const EXPECTED: &'static str = "a size with its unit, such as \"80GB\", or a share, such as \"80%\"";

    fn parse(text: &str) -> Option<Self> {
        Percent::parse(text).map(Self::Share).or_else(|| Size::parse(text).map(Self::Size))
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => size.fmt(f),
            Self::Share(share) => share.fmt(f),
        }
    }
}

/// How long an untagged manifest is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untagged {
    /// Forever.
    Keep,
    /// For this duration.
    After(Span),
}

impl Text for Untagged {
    const EXPECTED: &'static str = "a duration with its unit, such as \"14d\", or \"keep\"";

    fn parse(text: &str) -> Option<Self> {
        if text == "keep" {
            return Some(Self::Keep);
        }
        Span::parse(text).map(Self::After)
    }
}

impl fmt::Display for Untagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::After(span) => span.fmt(f),
        }
    }
}

/// The period of a recurring task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// The task is off.
    Off,
    /// Once per this duration.
    Every(Span),
}

impl Text for Period {
    const EXPECTED: &'static str = "a duration with its unit, such as \"30d\", or \"off\"";

    fn parse(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(Self::Off);
        }
        let span = Span::parse(text)?;
        Some(if span.0.is_zero() { Self::Off } else { Self::Every(span) })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Every(span) => span.fmt(f),
        }
    }
}

/// The address and port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl Default for Listen {
    fn default() -> Self {
        Self(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5000)))
    }
}

impl Text for Listen {
    const EXPECTED: &'static str = "an IP address with a port, such as \"0.0.0.0:5000\" or \"[::]:5000\"";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    /// Suggests an address for a port or a name alone, which other servers accept.
    fn suggest(text: &str) -> Option<String> {
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        port.parse::<u16>().ok()?;
        match host {
            "" | "*" => Some(format!("\"0.0.0.0:{port}\", or \"[::]:{port}\" for IPv6 too")),
            "localhost" => Some(format!("\"127.0.0.1:{port}\", or \"[::1]:{port}\" for IPv6")),
            _ => None,
        }
    }
}

/// A network in CIDR notation, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl Network {
    /// Whether the network contains all addresses.
    pub(super) fn is_everything(self) -> bool {
        self.0.prefix_len() == 0
    }
}

impl Text for Network {
    const EXPECTED: &'static str = "an IP address or a network, such as \"10.0.0.1\" or \"10.0.0.0/8\"";

    fn parse(text: &str) -> Option<Self> {
        let one = || text.parse().ok().map(|address: IpAddr| IpNet::from(address.to_canonical()));
        text.parse().ok().or_else(one).map(Self)
    }
}

/// Parses an HTTP or HTTPS URL without a user, a query and a fragment.
fn web_address(text: &str) -> Option<http::Uri> {
    let uri: http::Uri = text.parse().ok()?;
    let is_web = matches!(uri.scheme_str()?, "http" | "https");
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    (is_web && has_host && uri.query().is_none() && !text.contains(['#', '@'])).then_some(uri)
}

/// A URL with only a scheme and a host, stored without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Whether it is an HTTPS URL with the default port.
    pub fn is_standard_https(&self) -> bool {
        let uri: http::Uri = self.0.parse().unwrap_or_default();
        uri.scheme_str() == Some("https") && uri.port_u16().is_none_or(|port| port == 443)
    }
}

impl Text for PublicUrl {
    const EXPECTED: &'static str = "a URL without a path, such as \"https://registry.example.com\"";

    fn parse(text: &str) -> Option<Self> {
        let uri = web_address(text)?;
        (uri.path() == "/").then(|| Self(text.trim_end_matches('/').to_owned()))
    }
}

/// The origin of a page, as browsers write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOrigin(String);

impl Text for WebOrigin {
    const EXPECTED: &'static str = "an origin as browsers write it, without a path or a default port, such as \
         \"https://pages.example.com\"";

    fn parse(text: &str) -> Option<Self> {
        let url: Url = text.parse().ok()?;
        let is_web = matches!(url.scheme(), "http" | "https");
        (is_web && url.origin().ascii_serialization() == text).then(|| Self(text.to_owned()))
    }
}

/// The URL of a collector. It may not contain a password, so it can be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorUrl(String);

impl CollectorUrl {
    /// Returns the URL for spans (OTLP specification, "OTLP/HTTP request").
    pub fn of_traces(&self) -> String {
        format!("{}/v1/traces", self.0.trim_end_matches("/v1/traces"))
    }
}

impl Text for CollectorUrl {
    const EXPECTED: &'static str = "the URL of a collector, such as \"http://localhost:4318\"";

    fn parse(text: &str) -> Option<Self> {
        web_address(text).map(|_| Self(text.trim_end_matches('/').to_owned()))
    }
}

/// A log filter: a level, or directives as `tracing-subscriber` parses them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// Builds the filter.
    pub fn to_filter(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".into())
    }
}

impl Text for LogFilter {
    const EXPECTED: &'static str =
        "off, error, warn, info, debug, trace, or directives such as \"info,orlop::registry=debug\"";

    fn parse(text: &str) -> Option<Self> {
        // A lone word that is no level would be taken for a module name and switch everything else off.
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        let lone = |part: &str| !part.contains(['=', '[', ':']);
        let sound = |part: &str| !lone(part) || LEVELS.contains(&part.trim());
        EnvFilter::builder().parse(text).ok()?;
        text.split(',').all(sound).then(|| Self(text.to_owned()))
    }
}

/// A count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Count(pub u32);

impl Count {
    /// Returns the count as `usize`.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_i64(CountVisitor)
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Count, E> {
        let count = u32::try_from(number).map(Count);
        count.map_err(|_| E::custom(format_args!("{number} is not a number from 0 to {}", u32::MAX)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Count, E> {
        Err(E::custom(format_args!("{text:?} is not a whole number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_a_network_of_one() {
        let network = |text| Network::parse(text).map(|network| network.to_string());
        assert_eq!(network("10.0.0.1").as_deref(), Some("10.0.0.1/32"));
        assert_eq!(network("::ffff:10.0.0.1").as_deref(), Some("10.0.0.1/32"));
        assert_eq!(network("2001:db8::/32").as_deref(), Some("2001:db8::/32"));
        for nonsense in ["", "10.0.0.0/33", "10.0.0", "proxy.lan", "10.0.0.1:80", "10.0.0.0/-1"] {
            assert_eq!(network(nonsense), None, "{nonsense}");
        }
        assert!(Network::parse("::/0").is_some_and(Network::is_everything));
    }

    #[test]
    fn builds_the_url_for_spans() {
        let traces = |text| CollectorUrl::parse(text).map(|url| url.of_traces());
        for text in ["http://localhost:4318", "http://localhost:4318/", "http://localhost:4318/v1/traces"] {
            assert_eq!(traces(text).as_deref(), Some("http://localhost:4318/v1/traces"), "{text}");
        }
        assert_eq!(traces("https://c.example/otlp/").as_deref(), Some("https://c.example/otlp/v1/traces"));
        for text in [
            "",
            "localhost:4318",
            "grpc://localhost",
            "http://",
            "http://key@c.example",
            "http://c.example/?key=1",
        ] {
            assert_eq!(traces(text), None, "{text}");
        }
    }
}
