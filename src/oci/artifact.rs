//! The kinds of artifacts that are known, by the media types and annotations that their tools write.

use std::collections::BTreeMap;

use super::contents::{ManifestContents, predicate_types};
use super::details::ImageDetails;
use super::media_type::{ManifestKind, manifest_kind};

/// The format of a bill of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SbomFormat {
    /// SPDX.
    Spdx,
    /// CycloneDX.
    CycloneDx,
    /// Another format.
    Other,
}

/// The kind of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArtifactKind {
    /// A container image.
    Image,
    /// An index, usually of one image for several platforms.
    Index,
    /// A Helm chart.
    HelmChart,
    /// A signature of cosign.
    CosignSignature,
    /// A signature of Notation.
    NotationSignature,
    /// A bill of materials.
    Sbom(SbomFormat),
    /// A statement of how something was built.
    Provenance,
    /// Another signed statement.
    Attestation,
    /// A WebAssembly module or component.
    Wasm,
    /// A machine learning model.
    Model,
    /// Manifests for Flux.
    Flux,
    /// Policies for the Open Policy Agent.
    OpaBundle,
    /// The cache of a build.
    BuildCache,
    /// Anything else, such as files that ORAS pushed.
    Other,
}

/// The client that pulls a kind of artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PullClient {
    /// `docker pull`.
    Docker,
    /// `helm pull`.
    Helm,
    /// `oras pull`.
    Oras,
}

/// What tells the kind of an artifact.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArtifactTraits<'a> {
    /// The media type of the manifest.
    pub manifest_type: &'a str,
    /// The `artifactType`, or else the type of the config.
    pub artifact_type: Option<&'a str>,
    /// The content of the manifest, if it was read.
    pub contents: Option<&'a ManifestContents>,
    /// The annotations of the manifest.
    pub annotations: Option<&'a BTreeMap<String, String>>,
}

impl ArtifactKind {
    /// Returns the kind of an artifact.
    pub fn of(traits: &ArtifactTraits<'_>) -> Self {
        let kind = Self::by_types(traits);
        match kind {
            Self::Attestation | Self::CosignSignature => predicate(traits).map_or(kind, Self::of_predicate),
            kind => kind,
        }
    }

    fn by_types(traits: &ArtifactTraits<'_>) -> Self {
        let no_layers = Vec::new();
        let layers = traits.contents.map_or(&no_layers, |contents| &contents.layers);
        let config = traits.contents.and_then(|contents| contents.config.as_ref());
        let config = config.map(|config| config.media_type.as_str());
        let own = traits.contents.and_then(|contents| contents.artifact_type.as_deref());
        if let Some(kind) = [own, traits.artifact_type, config].into_iter().flatten().find_map(Self::of_type)
        {
            return kind;
        }
        if manifest_kind(traits.manifest_type) == Some(ManifestKind::Index) {
            return Self::Index;
        }
        let of_layers = || layers.iter().find_map(|layer| Self::of_type(&layer.media_type));
        let is_image = config.or(traits.artifact_type).is_some_and(ImageDetails::is_image_config);
        if is_image && layers.iter().any(|layer| is_image_layer(&layer.media_type)) {
            return Self::Image;
        }
        of_layers().unwrap_or(if is_image { Self::Image } else { Self::Other })
    }

    /// Returns the kind that uses a media type.
    fn of_type(media_type: &str) -> Option<Self> {
        let has = |part: &str| media_type.contains(part);
        Some(match media_type {
            _ if has("vnd.cncf.helm.") => Self::HelmChart,
            _ if has("cosign.simplesigning") || has("cosign.artifact.sig") => Self::CosignSignature,
            _ if has("dev.sigstore.bundle") => Self::CosignSignature,
            _ if has("vnd.cncf.notary.") => Self::NotationSignature,
            _ if has("spdx") => Self::Sbom(SbomFormat::Spdx),
            _ if has("cyclonedx") => Self::Sbom(SbomFormat::CycloneDx),
            _ if has("cosign.artifact.sbom") || has("vnd.syft") => Self::Sbom(SbomFormat::Other),
            _ if has("in-toto.provenance") || has("slsa") => Self::Provenance,
            _ if has("in-toto") || has("dsse.envelope") || has("docker.attestation.manifest") => {
                Self::Attestation
            }
            _ if has("vnd.wasm.") || has(".wasm.") || media_type.ends_with("wasm") => Self::Wasm,
            _ if has("vnd.ollama.") || has("vnd.kitops.") => Self::Model,
            _ if has("vnd.cncf.model.") || has("vnd.docker.ai.") => Self::Model,
            _ if has("vnd.cncf.flux.") => Self::Flux,
            _ if has("openpolicyagent") => Self::OpaBundle,
            _ if has("vnd.buildkit.cacheconfig") => Self::BuildCache,
            _ => return None,
        })
    }

    /// Returns the kind of a statement of this type.
    pub fn of_predicate(predicate: &str) -> Self {
        let has = |part: &str| predicate.contains(part);
        match predicate {
            _ if has("slsa.dev/provenance") => Self::Provenance,
            _ if has("spdx") => Self::Sbom(SbomFormat::Spdx),
            _ if has("cyclonedx") => Self::Sbom(SbomFormat::CycloneDx),
            _ if has("sigstore.dev/cosign/sign") => Self::CosignSignature,
            _ => Self::Attestation,
        }
    }

    /// Returns its name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Index => "index",
            Self::HelmChart => "helm-chart",
            Self::CosignSignature => "cosign-signature",
            Self::NotationSignature => "notation-signature",
            Self::Sbom(SbomFormat::Spdx) => "sbom-spdx",
            Self::Sbom(SbomFormat::CycloneDx) => "sbom-cyclonedx",
            Self::Sbom(SbomFormat::Other) => "sbom",
            Self::Provenance => "provenance",
            Self::Attestation => "attestation",
            Self::Wasm => "wasm",
            Self::Model => "model",
            Self::Flux => "flux",
            Self::OpaBundle => "opa-bundle",
            Self::BuildCache => "build-cache",
            Self::Other => "other",
        }
    }

    /// Returns the client that pulls it.
    pub fn pull_client(self) -> PullClient {
        match self {
            Self::Image | Self::Index => PullClient::Docker,
            Self::HelmChart => PullClient::Helm,
            _ => PullClient::Oras,
        }
    }
}

fn is_image_layer(media_type: &str) -> bool {
    media_type.contains(".image.layer.") || media_type.contains(".image.rootfs.")
}

/// Finds the type of the statement in the annotations of the manifest or of its layers. Provenance comes first, because
/// BuildKit puts all statements into one manifest.
fn predicate<'a>(traits: &ArtifactTraits<'a>) -> Option<&'a str> {
    let layers = traits.contents.into_iter().flat_map(|contents| &contents.layers);
    let maps = traits.annotations.into_iter().chain(layers.map(|layer| &layer.annotations));
    let mut first = None;
    for map in maps {
        for found in predicate_types(map) {
            if found.contains("slsa.dev/provenance") {
                return Some(found);
            }
            first = first.or(Some(found.as_str()));
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    const EMPTY: &str = "application/vnd.oci.empty.v1+json";

    fn kind(artifact_type: Option<&str>, config: &str, layers: &[&str]) -> &'static str {
        annotated(artifact_type, config, &layers.iter().map(|layer| (*layer, "")).collect::<Vec<_>>())
    }

    /// The kind of a manifest whose layers have these types and types of statements.
    fn annotated(artifact_type: Option<&str>, config: &str, layers: &[(&str, &str)]) -> &'static str {
        let digest = format!("sha256:{}", "0".repeat(64));
        let layers: Vec<_> = layers
            .iter()
            .map(|(media_type, predicate)| {
                json!({ "mediaType": media_type, "digest": digest, "size": 1,
                        "annotations": { "in-toto.io/predicate-type": predicate } })
            })
            .collect();
        let manifest = json!({
            "mediaType": MANIFEST, "artifactType": artifact_type, "layers": layers,
            "config": { "mediaType": config, "digest": digest, "size": 2 },
        });
        let contents = ManifestContents::read(manifest.to_string().as_bytes());
        let traits = ArtifactTraits {
            manifest_type: MANIFEST,
            artifact_type,
            contents: Some(&contents),
            annotations: None,
        };
        ArtifactKind::of(&traits).name()
    }

    #[test]
    fn tools_are_recognized_by_their_media_types() {
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        let docker = "application/vnd.docker.container.image.v1+json";
        for (config, layers, expected) in [
            (IMAGE_CONFIG, &[layer][..], "image"),
            (IMAGE_CONFIG, &[], "image"),
            (docker, &["application/vnd.docker.image.rootfs.diff.tar.gzip"], "image"),
            (
                "application/vnd.cncf.helm.config.v1+json",
                &["application/vnd.cncf.helm.chart.content.v1.tar+gzip"],
                "helm-chart",
            ),
            (IMAGE_CONFIG, &["application/vnd.dev.cosign.simplesigning.v1+json"], "cosign-signature"),
            (IMAGE_CONFIG, &["text/spdx+json"], "sbom-spdx"),
            (EMPTY, &["application/vnd.cyclonedx+json"], "sbom-cyclonedx"),
            (IMAGE_CONFIG, &["application/vnd.dsse.envelope.v1+json"], "attestation"),
            ("application/vnd.wasm.config.v0+json", &["application/wasm"], "wasm"),
            (IMAGE_CONFIG, &["application/vnd.module.wasm.content.layer.v1+wasm"], "wasm"),
            (docker, &["application/vnd.ollama.image.model", "application/vnd.ollama.image.params"], "model"),
            ("application/vnd.kitops.modelkit.config.v1+json", &[layer], "model"),
            (
                "application/vnd.cncf.model.config.v1+json",
                &["application/vnd.cncf.model.weight.v1.tar"],
                "model",
            ),
            (
                "application/vnd.docker.ai.model.config.v0.1+json",
                &["application/vnd.docker.ai.gguf.v3"],
                "model",
            ),
            (
                "application/vnd.cncf.flux.config.v1+json",
                &["application/vnd.cncf.flux.content.v1.tar+gzip"],
                "flux",
            ),
            (
                "application/vnd.cncf.openpolicyagent.config.v1+json",
                &["application/vnd.cncf.openpolicyagent.policy.layer.v1+rego"],
                "opa-bundle",
            ),
            ("application/vnd.buildkit.cacheconfig.v0", &[layer], "build-cache"),
            (EMPTY, &["text/plain"], "other"),
            ("application/vnd.unknown.config.v1+json", &[layer], "other"),
        ] {
            assert_eq!(kind(None, config, layers), expected, "{config} {layers:?}");
        }
    }

    #[test]
    fn artifact_type_comes_first() {
        for (artifact_type, expected) in [
            ("application/vnd.cncf.notary.signature", "notation-signature"),
            ("application/vnd.dev.sigstore.bundle.v0.3+json", "cosign-signature"),
            ("application/spdx+json", "sbom-spdx"),
            ("application/vnd.in-toto+json", "attestation"),
            ("application/vnd.docker.attestation.manifest.v1+json", "attestation"),
            ("application/vnd.cncf.model.manifest.v1+json", "model"),
            ("application/vnd.unknown.artifact.v1", "other"),
        ] {
            assert_eq!(
                kind(Some(artifact_type), EMPTY, &["application/octet-stream"]),
                expected,
                "{artifact_type}"
            );
            let traits = ArtifactTraits { artifact_type: Some(artifact_type), ..ArtifactTraits::default() };
            assert_eq!(ArtifactKind::of(&traits).name(), expected, "{artifact_type} as a referrer");
        }
    }

    #[test]
    fn statements_are_told_apart_by_their_type() {
        let in_toto = "application/vnd.in-toto+json";
        let provenance = (in_toto, "https://slsa.dev/provenance/v0.2");
        let spdx = (in_toto, "https://spdx.dev/Document");
        assert_eq!(annotated(None, IMAGE_CONFIG, &[spdx, provenance]), "provenance");
        assert_eq!(annotated(None, IMAGE_CONFIG, &[spdx]), "sbom-spdx");
        assert_eq!(annotated(None, IMAGE_CONFIG, &[(in_toto, "https://example.com/x")]), "attestation");
        let annotations = BTreeMap::from([(
            "dev.sigstore.bundle.predicateType".to_owned(),
            "https://cyclonedx.org/bom".to_owned(),
        )]);
        let traits = ArtifactTraits {
            artifact_type: Some("application/vnd.dev.sigstore.bundle.v0.3+json"),
            annotations: Some(&annotations),
            ..ArtifactTraits::default()
        };
        assert_eq!(ArtifactKind::of(&traits).name(), "sbom-cyclonedx");
    }

    #[test]
    fn an_index_is_pulled_with_docker_and_files_with_oras() {
        let index = ArtifactTraits {
            manifest_type: "application/vnd.oci.image.index.v1+json",
            ..ArtifactTraits::default()
        };
        assert_eq!(ArtifactKind::of(&index), ArtifactKind::Index);
        let clients = [ArtifactKind::Index, ArtifactKind::HelmChart, ArtifactKind::Other]
            .map(ArtifactKind::pull_client);
        assert_eq!(clients, [PullClient::Docker, PullClient::Helm, PullClient::Oras]);
    }
}
