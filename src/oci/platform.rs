//! What an index says of its members: read from what was accepted long ago, so nothing is refused here.

use serde::Deserialize;

use super::Digest;

/// A member of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexMember {
    /// Its digest.
    pub digest: Digest,
    /// Its type, as the index has it.
    pub media_type: String,
    /// Its length in bytes, as the index has it.
    pub size: u64,
    /// What it runs on: `<os>/<architecture>` and, after another slash, the variant. `None` where the index
    /// does not say, or says that it is unknown, as builders do with attestations.
    pub platform: Option<String>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    digest: String,
    #[serde(rename = "mediaType")]
    media_type: String,
    size: u64,
    platform: Option<Platform>,
}

/// A platform as indexes and configs spell it.
#[derive(Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// The platform, if it is said; none where it is said that there is none.
    pub(super) fn known(self) -> Option<Option<String>> {
        let said = !self.os.is_empty() && !self.architecture.is_empty();
        said.then(|| self.text())
    }

    fn text(self) -> Option<String> {
        let known = |part: &str| !part.is_empty() && part != "unknown";
        let Self { os, architecture, variant } = self;
        if !known(&os) || !known(&architecture) {
            return None;
        }
        let variant = variant.filter(|variant| known(variant));
        Some(variant.map_or_else(|| format!("{os}/{architecture}"), |v| format!("{os}/{architecture}/{v}")))
    }
}

/// The members of the index whose bytes are `content`, in its order. None if it is no index.
pub fn index_members(content: &[u8]) -> Vec<IndexMember> {
    let index: Index = serde_json::from_slice(content).unwrap_or(Index { manifests: Vec::new() });
    let member = |member: Member| {
        Some(IndexMember {
            digest: member.digest.parse().ok()?,
            media_type: member.media_type,
            size: member.size,
            platform: member.platform.and_then(Platform::text),
        })
    };
    index.manifests.into_iter().filter_map(member).collect()
}

/// The platforms of an index's members, each once, if it says something of each.
pub fn index_platforms(content: &[u8]) -> Option<Vec<String>> {
    let index: Index = serde_json::from_slice(content).ok()?;
    let each = index.manifests.into_iter().map(|member| member.platform?.known());
    Some(each_once(each.collect::<Option<Vec<_>>>()?.into_iter().flatten()))
}

/// The platforms of an index's members, each once, in the order in which they come.
pub fn platforms(members: &[IndexMember]) -> Vec<String> {
    each_once(members.iter().filter_map(|member| member.platform.clone()))
}

/// `platforms` without those that came before. There are few.
pub fn each_once(platforms: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut found = Vec::new();
    for platform in platforms {
        if !found.contains(&platform) {
            found.push(platform);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn platforms_are_those_that_are_known() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let member = |platform: serde_json::Value| json!({ "mediaType": "m", "digest": digest, "size": 1, "platform": platform });
        let index = json!({ "manifests": [
            member(json!({ "os": "linux", "architecture": "arm64", "variant": "v8" })),
            member(json!({ "os": "linux", "architecture": "amd64" })),
            member(json!({ "os": "linux", "architecture": "amd64" })),
            member(json!({ "os": "unknown", "architecture": "unknown" })),
            member(json!({ "os": "linux" })),
            member(json!(null)),
        ]});
        let members = index_members(index.to_string().as_bytes());
        assert_eq!(members.len(), 6);
        assert_eq!(platforms(&members), ["linux/arm64/v8", "linux/amd64"]);
    }

    #[test]
    fn an_index_that_is_silent_about_a_member_does_not_tell() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let index = |platforms: &[serde_json::Value]| {
            let member =
                |platform| json!({ "mediaType": "m", "digest": digest, "size": 1, "platform": platform });
            json!({ "manifests": platforms.iter().map(member).collect::<Vec<_>>() }).to_string()
        };
        let (arm, none) = (
            json!({ "os": "linux", "architecture": "arm" }),
            json!({ "os": "unknown", "architecture": "unknown" }),
        );
        let told = index_platforms(index(&[arm.clone(), none, arm.clone()]).as_bytes());
        assert_eq!(told, Some(vec!["linux/arm".to_owned()]));
        assert_eq!(index_platforms(index(&[arm, json!(null)]).as_bytes()), None);
    }

    #[test]
    fn what_is_no_index_has_no_members() {
        for text in ["", "[]", "{}", r#"{"manifests":null}"#, r#"{"manifests":[{"digest":1}]}"#] {
            assert_eq!(index_members(text.as_bytes()), [], "{text}");
        }
    }
}
