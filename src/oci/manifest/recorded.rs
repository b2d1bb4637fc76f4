//! What is read again of a manifest that was accepted earlier, perhaps by an older version: nothing is refused here.

use serde::Deserialize;

use crate::oci::Digest;

/// What a manifest says of itself that its record may lack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordedManifest {
    /// The digest of its config, if it is an image.
    pub config: Option<Digest>,
    /// Its `artifactType`; without it its config's type.
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
    /// Reads the manifest whose bytes are `content`. `None` if it cannot be read.
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
    fn a_manifest_names_its_config_and_type() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let image = format!(r#"{{"layers":[],"config":{{"mediaType":"a/b","digest":"{digest}","size":1}}}}"#);
        let found = read(&image).expect("readable");
        assert_eq!(found.config.expect("a config").to_string(), digest);
        assert_eq!(found.artifact_type.as_deref(), Some("a/b"));
        let typed = image.replacen('{', r#"{"artifactType":"c/d","#, 1);
        assert_eq!(read(&typed).expect("readable").artifact_type.as_deref(), Some("c/d"));
    }

    #[test]
    fn what_is_no_manifest_names_nothing() {
        assert_eq!(read("{}"), Some(RecordedManifest::default()));
        assert_eq!(read(r#"{"artifactType":null,"config":null}"#), Some(RecordedManifest::default()));
        for content in ["", "[]", r#"{"config":1}"#, r#"{"artifactType":1}"#] {
            assert_eq!(read(content), None, "{content}");
        }
    }
}
