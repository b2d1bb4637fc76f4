//! Searches repositories, tags and digests at once. Tags and digests have no index across repositories, so that they
//! are looked up in the repositories that were pushed to last.

use crate::metadata::queries::listings::repositories::{
    RecentRepository, recently_pushed, repositories_page,
};
use crate::metadata::sql::{Connection, SqlDigest, algorithm, params};
use crate::metadata::{FoundDigest, FoundTag, ListQuery, SearchResults, Visible, sql};
use crate::oci::{Algorithm, Digest, RepoName};

/// The maximum number of repositories in which tags and digests are looked up.
const MAX_SEARCHED: usize = 2_000;

/// The minimum number of hexadecimal digits of a digest to search for.
const MIN_DIGEST_LEN: usize = 7;

/// The maximum number of blobs with the same first digits of their digest that are read.
const MAX_SIMILAR_BLOBS: usize = 20;

/// The maximum number of repositories that are read for a blob.
const MAX_LINKS: usize = 200;

/// Finds up to `limit` visible results of each kind.
pub(in crate::metadata) fn search(
    c: &dyn Connection,
    text: &str,
    visible: &Visible,
    limit: usize,
) -> sql::Result<SearchResults> {
    let text = text.trim();
    let digest = DigestPrefix::parse(text);
    let (name, tag) = match text.rsplit_once(':') {
        Some((name, tag)) if digest.is_none() => (Some(name), tag),
        _ => (None, text),
    };
    let searched_name = Some(name.unwrap_or(text).to_owned()).filter(|text| !text.is_empty());
    if searched_name.is_none() && tag.is_empty() {
        return Ok(SearchResults::default());
    }
    let query = ListQuery { search: searched_name, limit, ..ListQuery::default() };
    let page = repositories_page(c, &query, visible)?;
    let mut results = SearchResults { more_repositories: page.next.is_some(), ..SearchResults::default() };
    results.repositories = page.items;
    let mut recent = recently_pushed(c, visible, MAX_SEARCHED)?;
    results.incomplete = recent.len() == MAX_SEARCHED;
    if let Some(name) = name {
        let name = name.to_lowercase();
        recent.retain(|repository| repository.name.as_str().contains(&name));
    }
    find_tags(c, tag, &recent, limit, &mut results)?;
    if let Some(digest) = digest {
        find_manifests(c, &digest, &recent, limit, &mut results)?;
        find_blobs(c, &digest, visible, limit, &mut results)?;
    }
    Ok(results)
}

/// Finds the tags that start with a text.
fn find_tags(
    c: &dyn Connection,
    text: &str,
    among: &[RecentRepository],
    limit: usize,
    results: &mut SearchResults,
) -> sql::Result<()> {
    let is_in_tag = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_in_tag) {
        return Ok(());
    }
    let mut query = c.prepare_cached(
        "SELECT t.name, t.updated_at, m.digest FROM tags t CROSS JOIN manifests m
         WHERE t.repo = ?1 AND t.name >= ?2 AND t.name < ?3 AND m.id = t.manifest ORDER BY t.name LIMIT ?4",
    )?;
    let end = format!("{text}~");
    for repository in among {
        let left = limit - results.tags.len();
        let mut rows = query.query(params![repository.id, text, end, left + 1])?;
        while let Some(row) = rows.next()? {
            if results.tags.len() == limit {
                results.more_tags = true;
                return Ok(());
            }
            results.tags.push(FoundTag {
                repo: repository.name.clone(),
                tag: row.get(0)?,
                pushed_at: row.get(1)?,
                digest: row.get::<SqlDigest>(2)?.0,
            });
        }
    }
    Ok(())
}

fn find_manifests(
    c: &dyn Connection,
    wanted: &DigestPrefix,
    among: &[RecentRepository],
    limit: usize,
    results: &mut SearchResults,
) -> sql::Result<()> {
    let mut query = c.prepare_cached(
        "SELECT digest FROM manifests WHERE repo = ?1 AND digest >= ?2 AND digest <= ?3 AND state = 0
         ORDER BY digest LIMIT ?4",
    )?;
    for (first, last) in wanted.ranges() {
        for repository in among {
            let left = limit - results.manifests.len();
            if left == 0 {
                return Ok(());
            }
            let mut rows = query.query(params![repository.id, first, last, left])?;
            while let Some(row) = rows.next()? {
                let digest = row.get::<SqlDigest>(0)?.0;
                results.manifests.push(FoundDigest { repo: repository.name.clone(), digest });
            }
        }
    }
    Ok(())
}

fn find_blobs(
    c: &dyn Connection,
    wanted: &DigestPrefix,
    visible: &Visible,
    limit: usize,
    results: &mut SearchResults,
) -> sql::Result<()> {
    let mut blobs = c.prepare_cached(
        "SELECT digest FROM blobs WHERE digest >= ?1 AND digest <= ?2 ORDER BY digest LIMIT ?3",
    )?;
    let mut links = c.prepare_cached(
        "SELECT r.name FROM links l CROSS JOIN repositories r
         WHERE l.digest = ?1 AND r.id = l.repo AND l.hidden_at IS NULL LIMIT ?2",
    )?;
    for (first, last) in wanted.ranges() {
        let mut rows = blobs.query(params![first, last, MAX_SIMILAR_BLOBS])?;
        while let Some(row) = rows.next()? {
            let digest: Digest = row.get::<SqlDigest>(0)?.0;
            let mut names = links.query(params![row.blob(0)?, MAX_LINKS])?;
            while let Some(name) = names.next()? {
                let repo: RepoName = name.get(0)?;
                if results.blobs.len() < limit && visible.shows(&repo) {
                    results.blobs.push(FoundDigest { repo, digest: digest.clone() });
                }
            }
        }
    }
    Ok(())
}

/// The first digits of a digest.
#[derive(Debug, PartialEq, Eq)]
struct DigestPrefix {
    /// `None` for any.
    algorithm: Option<Algorithm>,
    hex: String,
}

impl DigestPrefix {
    /// Parses at least seven hexadecimal digits, with the algorithm or without.
    fn parse(text: &str) -> Option<Self> {
        let (algorithm, hex) = match text.split_once(':') {
            Some((algorithm, hex)) => (Some(algorithm.parse().ok()?), hex),
            None => (None, text),
        };
        let is_digest = hex.len() >= MIN_DIGEST_LEN && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| Self { algorithm, hex: hex.to_ascii_lowercase() })
    }

    /// Returns the first and the last digest that start like this, as they are stored, for each algorithm.
    fn ranges(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let algorithms = Algorithm::ALL.into_iter().filter(|it| self.algorithm.is_none_or(|own| own == *it));
        let range = |it: Algorithm| {
            let len = 2 * it.hash_len();
            let bound = |fill: &str| {
                let digits = format!("{}{}", self.hex, fill.repeat(len.checked_sub(self.hex.len())?));
                let mut bytes = vec![algorithm(it)];
                bytes.extend(hex::decode(digits).ok()?);
                Some(bytes)
            };
            Some((bound("0")?, bound("f")?))
        };
        algorithms.filter_map(range).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_recognized_by_their_digits() {
        for text in ["abcdef0", "sha256:abcdef0", "ABCDEF012"] {
            assert!(DigestPrefix::parse(text).is_some(), "{text}");
        }
        for text in ["", "abcdef", "abcdefg", "md5:abcdef0", "app:abcdef0", "sha256:", "1.2.3-rc"] {
            assert_eq!(DigestPrefix::parse(text), None, "{text}");
        }
    }

    #[test]
    fn range_covers_all_digests_with_the_digits() {
        let ranges = DigestPrefix::parse("sha256:0123abc").expect("digits").ranges();
        let [(first, last)] = ranges.as_slice() else { panic!("{ranges:?}") };
        assert_eq!((first.len(), &first[..6]), (33, &[1, 0x01, 0x23, 0xab, 0xc0, 0][..]));
        assert_eq!((last.len(), &last[..6]), (33, &[1, 0x01, 0x23, 0xab, 0xcf, 0xff][..]));
        assert_eq!(DigestPrefix::parse("0123abc").expect("digits").ranges().len(), 2);
        let long = "a".repeat(65);
        assert_eq!(DigestPrefix::parse(&long).expect("digits").ranges().len(), 1);
    }
}
