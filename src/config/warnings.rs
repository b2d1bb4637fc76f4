//! Settings that are allowed and have no effect.

use super::{Config, Storage};

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
        idle.map(|(key, _)| text(key)).collect()
    }
}
