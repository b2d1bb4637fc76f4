//! Referrers: the response that lists them, and the tags clients use on registries without such a list.

use serde::{Serialize, Serializer};

use super::media_type::OCI_IMAGE_INDEX;
use super::{Algorithm, Annotations, Digest, MediaType, Tag};

/// The number of hex digits of a digest that fit into a tag (spec, "Referrers Tag Schema").
const TRUNCATED_LEN: usize = 64;

/// Returns the tag under which clients list a subject's referrers on a registry that does not list them itself (spec,
/// "Referrers Tag Schema").
pub fn fallback_tag(subject: &Digest) -> Tag {
    let encoded = &subject.hex()[..TRUNCATED_LEN];
    let tag = format!("{}-{encoded}", subject.algorithm());
    tag.parse().expect("an algorithm, a dash and 64 hex digits are a tag")
}

/// Returns the tag under which clients attach something of this kind to a subject.
pub fn attached_tag(subject: &Digest, kind: AttachmentKind) -> Tag {
    let tag = format!("{}{}", fallback_tag(subject), kind.suffix());
    tag.parse().expect("a fallback tag and a short suffix are a tag")
}

/// The kind of content in a tag that is made from a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttachmentKind {
    /// The index of the referrers, see [`fallback_tag`].
    Referrers,
    /// cosign's signatures, `.sig`.
    Signature,
    /// cosign's attestations, `.att`.
    Attestation,
    /// cosign's bill of materials, `.sbom`.
    Sbom,
}

impl AttachmentKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Referrers, Self::Signature, Self::Attestation, Self::Sbom];

    /// Returns the suffix after the digest in such a tag.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Referrers => "",
            Self::Signature => ".sig",
            Self::Attestation => ".att",
            Self::Sbom => ".sbom",
        }
    }
}

/// A tag that attaches something to a digest: a fallback tag, or one of cosign's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The kind of content.
    pub kind: AttachmentKind,
    algorithm: Algorithm,
    encoded: Box<str>,
}

impl Attachment {
    /// Parses a tag such as `sha256-<64 hex>` or `sha256-<64 hex>.sig`. Returns `None` for all other tags.
    pub fn of(tag: &Tag) -> Option<Self> {
        let (algorithm, rest) = tag.as_str().split_once('-')?;
        let (encoded, suffix) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
        let kind = AttachmentKind::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let valid = encoded.len() == TRUNCATED_LEN && encoded.bytes().all(lower_hex);
        let algorithm = algorithm.parse().ok()?;
        valid.then(|| Self { kind, algorithm, encoded: encoded.into() })
    }

    /// Whether it is attached to this digest.
    pub fn is_attached_to(&self, subject: &Digest) -> bool {
        self.algorithm == subject.algorithm() && subject.hex().starts_with(&*self.encoded)
    }

    /// Returns the digest it is attached to. `None` for sha512, because a tag contains only half of the digest.
    pub fn subject(&self) -> Option<Digest> {
        format!("{}:{}", self.algorithm, self.encoded).parse().ok()
    }
}

/// A descriptor in a list of referrers (spec, "Listing Referrers").
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The manifest's type.
    #[serde(serialize_with = "as_text")]
    pub media_type: MediaType,
    /// The manifest's digest.
    #[serde(serialize_with = "as_text")]
    pub digest: Digest,
    /// The manifest's size in bytes.
    pub size: u64,
    /// The artifact type, see [`Manifest::artifact_type`](super::Manifest::artifact_type).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// All annotations of the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

fn as_text<T: std::fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The body of the response: an image index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

impl ImageIndex {
    /// Creates an index of `manifests`, which may be empty.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: OCI_IMAGE_INDEX, manifests }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(algorithm: Algorithm) -> Digest {
        Digest::from_hash(algorithm, &vec![0xab; algorithm.hash_len()]).expect("length")
    }

    #[test]
    fn fallback_tag_has_64_digits() {
        for algorithm in Algorithm::ALL {
            let tag = fallback_tag(&digest(algorithm));
            assert_eq!(tag.as_str(), format!("{algorithm}-{}", "ab".repeat(32)));
            let attachment = Attachment::of(&tag).expect("an attachment");
            assert_eq!(attachment.kind, AttachmentKind::Referrers);
            let matches = |a: &Algorithm| attachment.is_attached_to(&digest(*a));
            assert!(Algorithm::ALL.iter().all(|a| matches(a) == (*a == algorithm)));
        }
    }

    #[test]
    fn recognizes_cosign_tags_only() {
        let of = |suffix: &str| {
            Attachment::of(&format!("sha256-{}{suffix}", "ab".repeat(32)).parse().expect("tag"))
        };
        assert_eq!(of(".sig").map(|a| a.kind), Some(AttachmentKind::Signature));
        assert_eq!(of(".sbom").and_then(|a| a.subject()), Some(digest(Algorithm::Sha256)));
        assert!(["0", ".exe", ".sig.sig", "."].iter().all(|suffix| of(suffix).is_none()));
        let other = |tag: &str| Attachment::of(&tag.parse().expect("tag"));
        assert_eq!(other("latest"), None);
        assert_eq!(other("sha256-abc.sig"), None);
        assert_eq!(other("sha1-abc"), None);
    }

    #[test]
    fn attached_tag_is_parsed_back() {
        for (algorithm, kind) in Algorithm::ALL
            .into_iter()
            .zip(AttachmentKind::ALL)
            .chain(AttachmentKind::ALL.map(|kind| (Algorithm::Sha256, kind)))
        {
            let subject = digest(algorithm);
            let attachment = Attachment::of(&attached_tag(&subject, kind)).expect("an attachment");
            assert!(attachment.kind == kind && attachment.is_attached_to(&subject));
        }
    }

    #[test]
    fn empty_fields_are_omitted_but_an_empty_list_is_not() {
        let descriptor = Descriptor {
            media_type: OCI_IMAGE_INDEX.parse().expect("type"),
            digest: digest(Algorithm::Sha256),
            size: 7,
            artifact_type: None,
            annotations: None,
        };
        let fields = json!({ "mediaType": OCI_IMAGE_INDEX, "digest": descriptor.digest.as_str(), "size": 7 });
        assert_eq!(serde_json::to_value(descriptor).expect("serialises"), fields);
        let empty = json!({ "schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": [] });
        assert_eq!(serde_json::to_value(ImageIndex::new(Vec::new())).expect("serialises"), empty);
    }
}
