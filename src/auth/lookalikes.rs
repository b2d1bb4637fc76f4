//! Users whose names differ by case only. Users are found by their exact names, but people who read a history or a list
//! of grants do not tell such names apart.

use std::collections::BTreeMap;
use std::fmt;

/// Two users whose names differ by case only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookAlikes {
    /// One name.
    pub one: String,
    /// The other name.
    pub other: String,
}

impl fmt::Display for LookAlikes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { one, other } = self;
        write!(f, "the users {one} and {other} differ by case only: they are two users, and easily confused")
    }
}

/// Whether two names differ by case, and by nothing else.
pub(super) fn look_alike(one: &str, other: &str) -> bool {
    one != other && folded(one) == folded(other)
}

/// All pairs of these names that differ by case only, each of them beside the first of its spelling.
pub fn find_look_alikes(names: impl IntoIterator<Item = String>) -> Vec<LookAlikes> {
    let mut by_folded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in names {
        let spellings = by_folded.entry(folded(&name)).or_default();
        if !spellings.contains(&name) {
            spellings.push(name);
        }
    }
    let pairs = by_folded.into_values().flat_map(|mut spellings| {
        spellings.sort();
        let first = spellings.remove(0);
        spellings.into_iter().map(move |other| LookAlikes { one: first.clone(), other })
    });
    pairs.collect()
}

fn folded(name: &str) -> String {
    name.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_by_case_are_paired() {
        let names = ["olga", "ann", "Olga", "bob", "ann", "OLGA"].map(str::to_owned);
        let found: Vec<_> = find_look_alikes(names).into_iter().map(|pair| (pair.one, pair.other)).collect();
        let expected = [("OLGA", "Olga"), ("OLGA", "olga")];
        assert_eq!(found, expected.map(|(one, other)| (one.to_owned(), other.to_owned())));
        assert!(look_alike("Ölga", "ölga") && !look_alike("olga", "olga") && !look_alike("olga", "olgas"));
    }
}
