//! Finds users whose names differ only in case. The registry matches names exactly, but people who read a history or a
//! list of grants easily confuse such names.

use std::collections::BTreeMap;
use std::fmt;

/// Two users whose names differ only in case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookAlikes {
    /// The name that comes first in order.
    pub one: String,
    /// The other name.
    pub other: String,
}

impl fmt::Display for LookAlikes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { one, other } = self;
        write!(
            f,
            "the users {one} and {other} differ only in case; they are separate users and easily confused"
        )
    }
}

/// Whether two names differ in case and in nothing else.
pub(super) fn is_look_alike(one: &str, other: &str) -> bool {
    one != other && one.to_lowercase() == other.to_lowercase()
}

/// All pairs of names that differ only in case. If there are more than two spellings, each is paired with
/// the first one in order.
pub fn find_look_alikes(names: impl IntoIterator<Item = String>) -> Vec<LookAlikes> {
    let mut by_case_folded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in names {
        let spellings = by_case_folded.entry(name.to_lowercase()).or_default();
        if !spellings.contains(&name) {
            spellings.push(name);
        }
    }
    let pairs = by_case_folded.into_values().flat_map(|mut spellings| {
        spellings.sort();
        let first = spellings.remove(0);
        spellings.into_iter().map(move |other| LookAlikes { one: first.clone(), other })
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_names_that_differ_only_in_case() {
        let names = ["olga", "ann", "Olga", "bob", "ann", "OLGA"].map(str::to_owned);
        let found: Vec<_> = find_look_alikes(names).into_iter().map(|pair| (pair.one, pair.other)).collect();
        let expected = [("OLGA", "Olga"), ("OLGA", "olga")];
        assert_eq!(found, expected.map(|(one, other)| (one.to_owned(), other.to_owned())));
        assert!(
            is_look_alike("Ölga", "ölga")
                && !is_look_alike("olga", "olga")
                && !is_look_alike("olga", "olgas")
        );
    }
}
