//! IP networks in settings.

use std::net::IpAddr;

use ipnet::IpNet;

use super::text::{Text, display_inner, text_serde};

text_serde!(Network);
display_inner!(Network);

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
}
