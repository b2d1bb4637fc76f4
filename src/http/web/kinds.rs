//! How pages show kinds of artifacts: their names, their icons, and the commands that pull them.

use super::visitor::Visitor;
use crate::metadata::ManifestEntry;
use crate::oci::{ArtifactKind, ArtifactTraits, PullClient, Reference, RepoName, SbomFormat};

/// How a page shows a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// The name of its icon in `templates/web/kinds.html`.
    pub(super) icon: &'static str,
    pub(super) name: &'static str,
}

impl Kind {
    /// The kind of a manifest in a list, as far as its types say.
    pub(super) fn of(manifest: &ManifestEntry) -> Self {
        kind_of(manifest).into()
    }
}

/// The kind of a manifest in a list, as far as its types say.
pub(super) fn kind_of(manifest: &ManifestEntry) -> ArtifactKind {
    ArtifactKind::of(&ArtifactTraits {
        manifest_type: &manifest.media_type,
        artifact_type: manifest.artifact_type.as_deref(),
        ..ArtifactTraits::default()
    })
}

impl From<ArtifactKind> for Kind {
    fn from(kind: ArtifactKind) -> Self {
        let (icon, name) = match kind {
            ArtifactKind::Image => ("image", "Image"),
            ArtifactKind::Index => ("index", "Image index"),
            ArtifactKind::HelmChart => ("helm", "Helm chart"),
            ArtifactKind::CosignSignature => ("signature", "Cosign signature"),
            ArtifactKind::NotationSignature => ("signature", "Notation signature"),
            ArtifactKind::Sbom(SbomFormat::Spdx) => ("sbom", "SBOM (SPDX)"),
            ArtifactKind::Sbom(SbomFormat::CycloneDx) => ("sbom", "SBOM (CycloneDX)"),
            ArtifactKind::Sbom(SbomFormat::Other) => ("sbom", "SBOM"),
            ArtifactKind::Provenance => ("provenance", "Provenance"),
            ArtifactKind::Attestation => ("provenance", "Attestation"),
            ArtifactKind::Wasm => ("wasm", "WebAssembly module"),
            ArtifactKind::Model => ("model", "Model"),
            ArtifactKind::Flux => ("flux", "Flux manifests"),
            ArtifactKind::OpaBundle => ("policy", "OPA bundle"),
            ArtifactKind::BuildCache => ("cache", "Build cache"),
            ArtifactKind::Other => ("other", "Artifact"),
        };
        Self { icon, name }
    }
}

/// The heading over attached manifests of a kind.
pub(super) fn heading(kind: ArtifactKind) -> &'static str {
    match kind {
        ArtifactKind::CosignSignature | ArtifactKind::NotationSignature => "Signatures",
        ArtifactKind::Sbom(_) => "SBOMs",
        ArtifactKind::Provenance => "Provenance",
        ArtifactKind::Attestation => "Attestations",
        _ => "Other artifacts",
    }
}

/// The command that pulls a manifest from this registry.
pub(super) fn pull_command(
    visitor: &Visitor,
    kind: ArtifactKind,
    name: &RepoName,
    reference: &Reference,
) -> String {
    command(kind, &visitor.registry_host(), visitor.is_https(), name, reference)
}

fn command(kind: ArtifactKind, host: &str, is_https: bool, name: &RepoName, reference: &Reference) -> String {
    let full_name = match reference {
        Reference::Tag(tag) => format!("{host}/{name}:{tag}"),
        Reference::Digest(digest) => format!("{host}/{name}@{digest}"),
    };
    let plain = if is_https { "" } else { " --plain-http" };
    match (kind.pull_client(), reference) {
        (PullClient::Docker, _) => format!("docker pull {full_name}"),
        (PullClient::Oras, _) => format!("oras pull{plain} {full_name}"),
        (PullClient::Helm, Reference::Digest(_)) => format!("helm pull oci://{full_name}{plain}"),
        (PullClient::Helm, Reference::Tag(tag)) => {
            // Tags cannot contain the plus sign of versions, so that Helm writes an underscore.
            let version = tag.as_str().replace('_', "+");
            format!("helm pull oci://{host}/{name} --version {version}{plain}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_gets_its_command() {
        let name: RepoName = "team/app".parse().expect("a name");
        let tag: Reference = "1.0_2".parse().expect("a tag");
        let digest: Reference = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
        let of = |kind, is_https, reference| command(kind, "nas:5000", is_https, &name, reference);
        assert_eq!(of(ArtifactKind::Index, false, &tag), "docker pull nas:5000/team/app:1.0_2");
        assert_eq!(of(ArtifactKind::Image, true, &digest), format!("docker pull nas:5000/team/app@{digest}"));
        assert_eq!(
            of(ArtifactKind::HelmChart, true, &tag),
            "helm pull oci://nas:5000/team/app --version 1.0+2"
        );
        assert_eq!(
            of(ArtifactKind::HelmChart, false, &digest),
            format!("helm pull oci://nas:5000/team/app@{digest} --plain-http")
        );
        assert_eq!(of(ArtifactKind::Other, false, &tag), "oras pull --plain-http nas:5000/team/app:1.0_2");
    }
}
