//! Settings that are allowed and probably not meant.

use super::{Config, ForwardedHeader, HAS_TRACES, Size, Storage, TokenAuthority, Traces};

/// What the database needs, when the disk is full of other things, to go on deleting and collecting.
const ROOM: Size = Size::mib(64);

impl Config {
    /// What is probably not meant, a line each; that of policies apart.
    pub fn warnings(&self) -> Vec<String> {
        let (storage, usual) = (&self.storage, Storage::default());
        let of_budget = [
            ("storage.high_mark", storage.high_mark != usual.high_mark),
            ("storage.low_mark", storage.low_mark != usual.low_mark),
        ];
        let idle = of_budget.into_iter().filter(|(_, chosen)| *chosen && storage.budget.is_none());
        let text = |key| format!("{key} has an effect beside storage.budget only, which is not set");
        let tight = (storage.min_free < ROOM).then(|| {
            let min = storage.min_free;
            format!("storage.min_free = {min} keeps back less than the {ROOM} that deletes and collection may need")
        });
        let everybody = self.server.trusted_proxies.iter().find(|network| network.is_everything());
        let everybody = everybody.map(|network| {
            format!("server.trusted_proxies = {network} trusts_external_identities everybody, who can then claim any address")
        });
        let unread = (self.server.forwarded_header != ForwardedHeader::XForwarded
            && self.server.trusted_proxies.is_empty())
        .then(|| {
            "server.forwarded_header has an effect beside server.trusted_proxies only, which is not set"
                .into()
        });
        let of_proxies = everybody.into_iter().chain(unread);
        let unasked = self.acme.idle_key();
        let unasked =
            unasked.map(|key| format!("{key} has an effect beside acme.names only, which is not set"));
        let shown = (!self.identity_providers.is_empty()
            && self.token_authority != TokenAuthority::default())
        .then(|| "identity_providers: clients show what these signed to token_authority.realm".to_owned());
        let of_others = self.of_traces().into_iter().chain(unasked).chain(shown);
        idle.map(|(key, _)| text(key)).chain(tight).chain(of_proxies).chain(of_others).collect()
    }

    fn of_traces(&self) -> Option<String> {
        match &self.traces.endpoint {
            Some(_) if !HAS_TRACES => {
                Some("traces.endpoint has no effect in this build: it is one without --features otlp".into())
            }
            None if self.traces != Traces::default() => {
                Some("traces.sample has an effect beside traces.endpoint only, which is not set".into())
            }
            _ => None,
        }
    }
}
