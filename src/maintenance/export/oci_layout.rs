//! The OCI image layout: a directory for each repository, with `oci-layout`, `index.json` and its blobs.
//!
//! `index.json` lists every manifest of the repository: once for each of its tags, with the tag as
//! `org.opencontainers.image.ref.name`, and without a tag otherwise. It is replaced at the end, when everything in it is
//! there. Memory holds the descriptors of one repository.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::report::ExportError;
use super::target::Target;
use crate::distribution::{TaggedRevision, TreeError};
use crate::metadata::LiveManifest;
use crate::oci::{Digest, RepoName, Tag};
use crate::shared_files::{self as files, Place};

/// The annotation that names a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The media type of `index.json`.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The content of `oci-layout`.
const OCI_LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// The layouts of all repositories, in a directory.
pub(super) struct OciLayouts {
    dir: PathBuf,
    index: Mutex<Index>,
}

/// The future `index.json` of the current repository.
#[derive(Default)]
struct Index {
    manifests: BTreeMap<Digest, Described>,
    tags: BTreeMap<Tag, Digest>,
}

/// What a descriptor says about a manifest.
struct Described {
    media_type: String,
    size: usize,
}

impl OciLayouts {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), index: Mutex::default() }
    }

    fn layout(&self, repo: &RepoName) -> PathBuf {
        self.dir.join(repo.as_str())
    }

    fn blob(&self, repo: &RepoName, digest: &Digest) -> PathBuf {
        self.layout(repo).join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }
}

impl Target for OciLayouts {
    fn place(&self, repo: &RepoName, digest: &Digest, size: u64) -> Result<Option<PathBuf>, ExportError> {
        let path = self.blob(repo, digest);
        match at_path(&path, files::find_place(&path, size))? {
            Place::Present => Ok(None),
            Place::Free => Ok(Some(path)),
            Place::Taken(found) => Err(TreeError::Conflict { path, found }.into()),
        }
    }

    fn put_manifest(&self, repo: &RepoName, manifest: LiveManifest, _: &[Digest]) -> Result<(), ExportError> {
        let LiveManifest { digest, media_type, content, .. } = manifest;
        let path = self.blob(repo, &digest);
        at_path(&path, files::write_if_different(&path, &content))?;
        self.index.lock().manifests.insert(digest, Described { media_type, size: content.len() });
        Ok(())
    }

    fn set_tag(&self, _: &RepoName, tagged: &TaggedRevision) -> Result<bool, ExportError> {
        let mut index = self.index.lock();
        if !index.manifests.contains_key(&tagged.digest) {
            return Ok(false);
        }
        index.tags.insert(tagged.tag.clone(), tagged.digest.clone());
        Ok(true)
    }

    fn finish(&self, repo: &RepoName) -> Result<(), ExportError> {
        let index = std::mem::take(&mut *self.index.lock());
        if index.manifests.is_empty() {
            return Ok(());
        }
        let layout = self.layout(repo);
        at_path(&layout, files::create_dir(&layout))?;
        for (name, content) in [("index.json", index.to_json()), ("oci-layout", OCI_LAYOUT.to_owned())] {
            let path = layout.join(name);
            at_path(&path, files::replace_durably(&path, content.as_bytes()))?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), ExportError> {
        at_path(&self.dir, files::sync_filesystem(&self.dir))
    }
}

impl Index {
    fn to_json(&self) -> String {
        let tagged: BTreeSet<_> = self.tags.values().collect();
        let with_tags = self.tags.iter().filter_map(|(tag, digest)| {
            let mut descriptor = self.descriptor(digest)?;
            descriptor["annotations"] = json!({ REF_NAME: tag.as_str() });
            Some(descriptor)
        });
        let untagged = self.manifests.keys().filter(|digest| !tagged.contains(digest));
        let manifests: Vec<_> =
            with_tags.chain(untagged.filter_map(|digest| self.descriptor(digest))).collect();
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string()
    }

    fn descriptor(&self, digest: &Digest) -> Option<Value> {
        let Described { media_type, size } = self.manifests.get(digest)?;
        Some(json!({ "mediaType": media_type, "digest": digest.as_str(), "size": size }))
    }
}

fn at_path<T>(path: &Path, outcome: io::Result<T>) -> Result<T, ExportError> {
    outcome.map_err(|error| match error.kind() {
        // A repository is called like a file of another one, such as `app/index.json`.
        io::ErrorKind::NotADirectory => {
            TreeError::Conflict { path: path.into(), found: "lies below a file".to_owned() }.into()
        }
        _ => ExportError::Io { path: path.into(), error },
    })
}
