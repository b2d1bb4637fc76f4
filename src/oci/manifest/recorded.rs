//! Reads manifests that were accepted earlier, perhaps by an older version. Nothing is rejected here.

use serde::Deserialize;

use crate::oci::Digest;

/// The parts of a stored manifest that its database record may lack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordedManifest {
    /// The digest of the config, if it is an image.
    pub config: Option<Digest>,
    /// The `artifactType`, or else the type of the config.
    pub artifact_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    artifact_type: Option<String>,
    config: Option<Config>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    media_type: Option<String>,
    digest: Option<String>,
}

impl RecordedManifest {
    /// Reads a manifest. Returns `None` if it can't be read.
    pub fn read(content: &[u8]) -> Option<Self> {
        let Fields { artifact_type, config } = serde_json::from_slice(content).ok()?;
        let own = artifact_type.filter(|text| !text.is_empty());
        let Some(Config { media_type, digest }) = config else {
            return Some(Self { config: None, artifact_type: own });
        };
        Some(Self {
            config: digest.and_then(|digest| digest.parse().ok()),
            artifact_type: own.or(media_type).filter(|text| !text.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Option<RecordedManifest> {
        RecordedManifest::read(content.as_bytes())
    }

    #[test]
    fn reads_config_and_artifact_type() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let image = format!(r#"{{"layers":[],"config":{{"mediaType":"a/b","digest":"{digest}","size":1}}}}"#);
        let found = read(&image).expect("readable");
        assert_eq!(found.config.expect("a config").to_string(), digest);
        assert_eq!(found.artifact_type.as_deref(), Some("a/b"));
        let typed = image.replacen('{', r#"{"artifactType":"c/d","#, 1);
        assert_eq!(read(&typed).expect("readable").artifact_type.as_deref(), Some("c/d"));
    }

    #[test]
    fn invalid_manifest_has_neither() {
        assert_eq!(read("{}"), Some(RecordedManifest::default()));
        assert_eq!(read(r#"{"artifactType":null,"config":null}"#), Some(RecordedManifest::default()));
        for content in ["", "[]", r#"{"config":1}"#, r#"{"artifactType":1}"#] {
            assert_eq!(read(content), None, "{content}");
        }
    }
}
