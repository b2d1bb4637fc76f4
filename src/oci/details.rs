//! What an image is for: its platforms and labels. Read leniently: what cannot be read is not known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::platform::Platform;

/// The types of configs that images have.
const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// The largest config that is read, in bytes.
pub const MOST_CONFIG_BYTES: u64 = 1 << 20;

/// What an image is for. By default nothing of it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageDetails {
    /// Its platforms like `linux/arm64/v8`; none for what is no image. `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platforms: Option<Vec<String>>,
    /// The labels of its config. `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(flatten)]
    platform: Platform,
    #[serde(default)]
    config: Option<Runtime>,
}

#[derive(Deserialize)]
struct Runtime {
    #[serde(default, rename = "Labels")]
    labels: Option<BTreeMap<String, Option<String>>>,
}

impl ImageDetails {
    /// Whether a config of this type is an image's, so that it is worth reading.
    pub fn are_in(config_type: &str) -> bool {
        IMAGE_CONFIGS.contains(&config_type)
    }

    /// What the config of an image says.
    pub fn of_config(content: &[u8]) -> Self {
        let Ok(Config { platform, config }) = serde_json::from_slice(content) else {
            return Self::default();
        };
        let labels = config.and_then(|config| config.labels).unwrap_or_default();
        let labels = labels.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect();
        Self { platforms: platform.known().map(|text| text.into_iter().collect()), labels: Some(labels) }
    }

    /// Of what is no image: it has neither.
    pub fn of_artifact() -> Self {
        Self { platforms: Some(Vec::new()), labels: Some(BTreeMap::new()) }
    }

    /// Whether nothing is known.
    pub fn are_unknown(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ImageDetails {
        ImageDetails::of_config(text.as_bytes())
    }

    #[test]
    fn a_config_tells_platform_and_labels() {
        let found = of(r#"{"os":"linux","architecture":"arm","variant":"v7","x":[1],
                           "config":{"Labels":{"team":"a","empty":null},"Cmd":["x"]}}"#);
        assert_eq!(found.platforms, Some(vec!["linux/arm/v7".to_owned()]));
        let labels = found.labels.expect("known");
        assert_eq!((labels["team"].as_str(), labels["empty"].as_str()), ("a", ""));
    }

    #[test]
    fn an_attestation_has_no_platform() {
        let found = of(r#"{"os":"unknown","architecture":"unknown","config":null}"#);
        assert_eq!(found, ImageDetails::of_artifact());
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        for text in ["", "{", "[]", r#"{"os":1}"#, r#"{"os":"linux","architecture":"arm","config":7}"#] {
            assert!(of(text).are_unknown(), "{text}");
        }
        assert_eq!(of("{}").platforms, None);
        assert_eq!(of(r#"{"os":"linux"}"#).platforms, None);
    }
}
