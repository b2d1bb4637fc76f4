//! Derives the platforms and labels of an index from its children.

use std::collections::{BTreeMap, HashMap};

use super::snapshot::{ManifestFacts, RepoSnapshot};
use crate::oci::{Digest, deduplicate};

impl RepoSnapshot {
    /// Fills in unknown details of indexes if they are known of all children: the platforms of any child, and the
    /// labels that all children share. Children without a platform, such as attestations, are ignored for labels. The
    /// details of an index of indexes stay unknown.
    pub fn inherit_details(&mut self) {
        let places: HashMap<&Digest, usize> =
            self.manifests.iter().enumerate().map(|(place, manifest)| (&manifest.digest, place)).collect();
        let mut inherited = Vec::new();
        for (place, index) in self.manifests.iter().enumerate().filter(|(_, m)| !m.children.is_empty()) {
            if index.platforms.is_some() && index.labels.is_some() {
                continue;
            }
            let children =
                index.children.iter().map(|child| places.get(child).map(|at| &self.manifests[*at]));
            if let Some(children) = children.collect::<Option<Vec<_>>>() {
                inherited.push((place, platforms(&children), labels(&children)));
            }
        }
        for (place, platforms, labels) in inherited {
            let index = &mut self.manifests[place];
            index.platforms = index.platforms.take().or(platforms);
            index.labels = index.labels.take().or(labels);
        }
    }
}

fn platforms(children: &[&ManifestFacts]) -> Option<Vec<String>> {
    let each = children.iter().map(|child| child.platforms.clone());
    Some(deduplicate(each.collect::<Option<Vec<_>>>()?.into_iter().flatten()))
}

fn labels(children: &[&ManifestFacts]) -> Option<BTreeMap<String, String>> {
    let mut common: Option<BTreeMap<String, String>> = None;
    for child in children {
        if child.platforms.as_ref()?.is_empty() {
            continue;
        }
        let labels = child.labels.as_ref()?;
        match &mut common {
            None => common = Some(labels.clone()),
            Some(common) => common.retain(|key, value| labels.get(key) == Some(value)),
        }
    }
    Some(common.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::oci::{Algorithm, Hasher};

    fn manifest(name: &str) -> ManifestFacts {
        ManifestFacts::new(Hasher::digest(Algorithm::Sha256, name.as_bytes()), Timestamp(0))
    }

    fn image(name: &str, platform: Option<&str>, labels: &[(&str, &str)]) -> ManifestFacts {
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        ManifestFacts {
            platforms: Some(platform.into_iter().map(str::to_owned).collect()),
            labels: Some(labels),
            ..manifest(name)
        }
    }

    fn inherited(children: Vec<ManifestFacts>) -> ManifestFacts {
        let index = ManifestFacts {
            children: children.iter().map(|child| child.digest.clone()).collect(),
            ..manifest("index")
        };
        let manifests = [vec![index], children].concat();
        let mut snapshot = RepoSnapshot { repo: "app".parse().expect("name"), tags: Vec::new(), manifests };
        snapshot.inherit_details();
        snapshot.manifests.remove(0)
    }

    #[test]
    fn index_inherits_all_platforms_and_the_shared_labels() {
        let index = inherited(vec![
            image("a", Some("linux/amd64"), &[("team", "x"), ("arch", "amd64")]),
            image("b", Some("linux/arm64"), &[("team", "x"), ("arch", "arm64")]),
            image("attestation", None, &[]),
        ]);
        assert_eq!(index.platforms.expect("known"), ["linux/amd64", "linux/arm64"]);
        assert_eq!(index.labels.expect("known"), BTreeMap::from([("team".to_owned(), "x".to_owned())]));
    }

    #[test]
    fn index_stays_unknown_if_one_child_is_unknown() {
        let index = inherited(vec![image("a", Some("linux/amd64"), &[]), manifest("b")]);
        assert_eq!((index.platforms, index.labels), (None, None));
    }
}
