//! Warnings about settings that are valid but probably not intended.

use super::{Config, ForwardedHeader, HAS_TRACES, Size, Storage, TokenAuthority, Traces};

/// Free space that the database needs for deletes and garbage collection on an otherwise full disk.
const MIN_FREE_FOR_DELETES: Size = Size::mib(64);

impl Config {
    /// Returns warnings, one line each. Warnings about policies are not included.
    pub fn warnings(&self) -> Vec<String> {
        let storage = &self.storage;
        let defaults = Storage::default();
        let budget_keys = [
            ("storage.high_mark", storage.high_mark != defaults.high_mark),
            ("storage.low_mark", storage.low_mark != defaults.low_mark),
        ];
        let unused_marks = budget_keys.into_iter().filter(|(_, chosen)| *chosen && storage.budget.is_none());
        let unused_mark = |key| format!("{key} has no effect without storage.budget");
        let low_reserve = (storage.min_free < MIN_FREE_FOR_DELETES).then(|| {
            let min = storage.min_free;
            format!("storage.min_free = {min} is less than the {MIN_FREE_FOR_DELETES} that deletes may need")
        });
        let open_proxies = self.server.trusted_proxies.iter().find(|network| network.is_everything());
        let open_proxies = open_proxies.map(|network| {
            format!("server.trusted_proxies = {network} trusts all clients, which can then claim any address")
        });
        let unused_header = (self.server.forwarded_header != ForwardedHeader::XForwarded
            && self.server.trusted_proxies.is_empty())
        .then(|| "server.forwarded_header has no effect without server.trusted_proxies".into());
        let proxies = open_proxies.into_iter().chain(unused_header);
        let unused_acme = self.acme.idle_key();
        let unused_acme = unused_acme.map(|key| format!("{key} has no effect without acme.names"));
        let exposed_tokens = (!self.identity_providers.is_empty()
            && self.token_authority != TokenAuthority::default())
        .then(|| {
            "identity_providers: clients send the providers' tokens to token_authority.realm".to_owned()
        });
        let others = self.trace_warning().into_iter().chain(unused_acme).chain(exposed_tokens);
        unused_marks
            .map(|(key, _)| unused_mark(key))
            .chain(low_reserve)
            .chain(proxies)
            .chain(others)
            .collect()
    }

    fn trace_warning(&self) -> Option<String> {
        match &self.traces.endpoint {
            Some(_) if !HAS_TRACES => {
                Some("traces.endpoint has no effect in this build, which lacks the feature otlp".into())
            }
            None if self.traces != Traces::default() => {
                Some("traces.sample has no effect without traces.endpoint".into())
            }
            _ => None,
        }
    }
}
