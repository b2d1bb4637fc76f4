//! Replays sixty days of CI pushes under the `ci` preset. Checks that every image the preset keeps can be pulled
//! completely, that everything else leaves the store, and that the dry run predicts which is which.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orlop::clock::{Clock, Timestamp};
use orlop::jobs::retention::Retention;
use orlop::maintenance::fsck::fsck;
use orlop::oci::{Digest, Reference, RepoName};
use orlop::registry::Repository;
use orlop::store::BlobStore;
use serde_json::{Value, json};

use crate::kit::*;
use crate::retention::{DAY, expired_tags, policies, retention};

const PUSHES: u64 = 500;
const REPOSITORIES: u64 = 8;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The content of one push.
struct Push {
    repo: RepoName,
    tag: String,
    number: u64,
    at: Timestamp,
    /// Every manifest that the image needs, its own first.
    manifests: Vec<Digest>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    /// Tags besides the commit's.
    tags: Vec<String>,
}

struct Ci<'a> {
    kit: &'a Kit,
    pushes: Vec<Push>,
}

impl Ci<'_> {
    async fn blob(&mut self, repo: &Repository, push: &mut Push, content: String) -> Digest {
        // Clients do not send a blob that already exists.
        let digest = digest(content.as_bytes());
        if repo.blob(&digest).await.is_err() {
            crate::kit::push(repo, content.as_bytes()).await;
        }
        push.blobs.insert(digest.clone(), content.into_bytes());
        digest
    }

    /// Pushes an image of three layers: one shared by all builds, one shared by its repository, and its own.
    async fn image(&mut self, repo: &Repository, push: &mut Push, what: &str, os: &str) -> Value {
        let config = format!(r#"{{"os":"{os}","architecture":"{os}","of":"{what}","config":{{}}}}"#);
        let config = self.blob(repo, push, config).await;
        let base = self.blob(repo, push, "base ".repeat(1000)).await;
        let own_base = self.blob(repo, push, format!("base of {}", repo.name())).await;
        let layer = self.blob(repo, push, format!("layer of {what}")).await;
        let content = image(&config, &[&base, &own_base, &layer]);
        self.manifest(repo, push, &[], &content).await
    }

    async fn manifest(&mut self, repo: &Repository, push: &mut Push, tags: &[&str], content: &str) -> Value {
        let digest = put(repo, tags, content).await.expect("accepted");
        push.manifests.push(digest.clone());
        json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.as_str(), "size": content.len() })
    }

    /// Pushes the build of one commit as BuildKit does, with several platforms and their attestations, and signs it
    /// as cosign does.
    async fn build(&mut self, number: u64) {
        let repo = self.kit.repo(&format!("team/app{}", number % REPOSITORIES));
        let tag = match number {
            n if n % 50 == 49 => format!("v1.{}", n / 50),
            n if n % 3 == 0 => format!("feature-{:07x}", n * 7919),
            n => format!("{:07x}", n * 7919),
        };
        let mut push = Push {
            repo: repo.name().clone(),
            tag: tag.clone(),
            number,
            at: self.kit.clock.now(),
            manifests: Vec::new(),
            blobs: BTreeMap::new(),
            tags: Vec::new(),
        };
        let what = format!("build {number}");
        let tags = [tag.as_str(), "latest"];
        if number % 4 == 1 {
            let mut members = Vec::new();
            for os in ["linux", "windows"] {
                let mut member = self.image(&repo, &mut push, &format!("{what} {os}"), os).await;
                member["platform"] = json!({ "os": os, "architecture": "amd64" });
                let mut attestation =
                    self.image(&repo, &mut push, &format!("attestation of {what} {os}"), "unknown").await;
                attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
                attestation["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
                members.extend([member, attestation]);
            }
            let index = json!({
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": members,
            });
            self.manifest(&repo, &mut push, &tags, &index.to_string()).await;
        } else {
            let descriptor = self.image(&repo, &mut push, &what, "linux").await;
            let digest: Digest = descriptor["digest"].as_str().unwrap_or_default().parse().expect("a digest");
            for tag in tags {
                repo.point_tag(tag.parse().expect("tag"), &digest).await.expect("tagged");
            }
        }
        let subject = push.manifests.last().expect("an image").clone();
        match number % 6 {
            // The older cosign scheme: a tag that spells the digest.
            1 => {
                let config = self.blob(&repo, &mut push, format!("{{\"signs\":{number}}}")).await;
                let layer = self.blob(&repo, &mut push, format!("signature {number}")).await;
                let tag = format!("sha256-{}.sig", subject.hex());
                self.manifest(&repo, &mut push, &[&tag], &image(&config, &[&layer])).await;
                push.tags.push(tag);
            }
            // An SBOM and its signature as referrers.
            2 => {
                let mut about = subject.clone();
                for kind in ["sbom", "signature of the sbom"] {
                    let config = self.blob(&repo, &mut push, "{}".into()).await;
                    let layer = self.blob(&repo, &mut push, format!("{kind} {number}")).await;
                    let mut referrer: Value = serde_json::from_str(&image(&config, &[&layer])).expect("json");
                    referrer["artifactType"] = json!("application/vnd.example.about");
                    referrer["subject"] = json!({
                        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": about.as_str(), "size": 1,
                    });
                    let put = self.manifest(&repo, &mut push, &[], &referrer.to_string()).await;
                    about = put["digest"].as_str().unwrap_or_default().parse().expect("a digest");
                }
            }
            _ => {}
        }
        self.pushes.push(push);
    }

    /// The pushes that the preset keeps, computed independently of it: releases, the last ten builds of each branch,
    /// the newest three tags, pushes of the last three days, and the target of `latest`.
    fn kept_pushes(&self, now: Timestamp) -> Vec<&Push> {
        let mut kept = BTreeSet::new();
        let mut branches: BTreeMap<(&RepoName, bool), Vec<&Push>> = BTreeMap::new();
        let mut newest: BTreeMap<&RepoName, Vec<&Push>> = BTreeMap::new();
        for push in &self.pushes {
            newest.entry(&push.repo).or_default().push(push);
            if push.tag.starts_with('v') || push.at >= now.minus(3 * DAY) {
                kept.insert(push.number);
                if push.tag.starts_with('v') {
                    continue;
                }
            }
            branches.entry((&push.repo, push.tag.starts_with("feature-"))).or_default().push(push);
        }
        for builds in branches.values() {
            kept.extend(builds.iter().rev().take(10).map(|push| push.number));
        }
        for pushes in newest.values() {
            // `latest` is one of the newest three tags, and it points at the newest push.
            kept.extend(pushes.iter().rev().take(2).map(|push| push.number));
        }
        self.pushes.iter().filter(|push| kept.contains(&push.number)).collect()
    }
}

async fn all_tags(kit: &Kit) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for number in 0..REPOSITORIES {
        let repo = kit.repo(&format!("team/app{number}"));
        found.extend(
            crate::retention::tags(&repo).await.into_iter().map(|tag| format!("{}:{tag}", repo.name())),
        );
    }
    found
}

/// Checks that everything a push contained can be pulled, byte for byte.
async fn assert_pulls_completely(kit: &Kit, push: &Push) {
    let repo = kit.repo(push.repo.as_str()).without_push();
    for digest in &push.manifests {
        let found = repo.manifest(&Reference::Digest(digest.clone())).await;
        let found = found.unwrap_or_else(|error| panic!("{} {digest}: {error}", push.tag));
        assert_eq!(crate::kit::digest(&found.content), *digest);
    }
    for (digest, content) in &push.blobs {
        assert_eq!(read(&repo, digest).await.as_ref(), Some(content), "{} {digest}", push.tag);
    }
}

async fn stored(kit: &Kit) -> BTreeSet<Digest> {
    let mut found = BTreeSet::new();
    let mut from = None::<String>;
    loop {
        let page = kit.store.list(from.as_deref()).await.expect("listed");
        found.extend(page.blobs.into_iter().map(|(key, _)| key.digest));
        match page.next {
            Some(next) => from = Some(next),
            None => return found,
        }
    }
}

/// Runs retention and checks that it removes exactly the tags that the plan listed.
async fn run_as_planned(kit: &Kit, retention: &Retention) -> usize {
    let before = all_tags(kit).await;
    let plan = retention.plan(None, false).await.expect("planned");
    assert_eq!(all_tags(kit).await, before);
    let expired: BTreeSet<String> = expired_tags(&plan).into_iter().collect();
    retention.run_to_end().await.expect("run");
    let after = all_tags(kit).await;
    assert_eq!(before.difference(&after).cloned().collect::<BTreeSet<_>>(), expired);
    expired.len()
}

#[tokio::test]
async fn the_ci_preset_keeps_exactly_what_it_promises() {
    let mut kit = Kit::with(|settings| settings.lease = LEASE);
    let retention =
        retention(&mut kit, policies("[[policies]]\npreset = \"ci\"\nrepositories = [\"team/**\"]")).await;
    let mut ci = Ci { kit: &kit, pushes: Vec::new() };
    let step = Duration::from_secs_f64(60.0 * 86_400.0 / PUSHES as f64);
    let mut removed = 0;
    for number in 0..PUSHES {
        ci.build(number).await;
        kit.clock.advance(step);
        if number % 100 == 99 {
            removed += run_as_planned(&kit, &retention).await;
            kit.pass(HOUR).await;
        }
    }
    // Continue until nothing is left to do and every trash time and lease is over.
    for _ in 0..6 {
        kit.pass(TRASH.max(LEASE) + HOUR).await;
        removed += run_as_planned(&kit, &retention).await;
    }
    let evaluated_at = kit.clock.now();
    kit.pass(DAY).await;
    kit.pass(DAY).await;
    assert!(removed > 200, "{removed}");

    let kept = ci.kept_pushes(evaluated_at);
    let mut expected = BTreeSet::new();
    let mut blobs = BTreeSet::new();
    let mut manifests = BTreeSet::new();
    for push in &kept {
        assert_pulls_completely(&kit, push).await;
        expected.insert(format!("{}:{}", push.repo, push.tag));
        expected.insert(format!("{}:latest", push.repo));
        expected.extend(push.tags.iter().map(|tag| format!("{}:{tag}", push.repo)));
        blobs.extend(push.blobs.keys().cloned());
        manifests.extend(push.manifests.iter().map(|digest| (push.repo.clone(), digest.clone())));
    }
    assert_eq!(all_tags(&kit).await, expected);
    assert_eq!(stored(&kit).await, blobs);
    let recorded = kit.registry.metadata().manifests_after(0, 100_000).await.expect("manifests");
    let recorded: BTreeSet<_> =
        recorded.into_iter().map(|manifest| (manifest.repo, manifest.digest)).collect();
    assert_eq!(recorded, manifests);
    let report = fsck(&kit.registry, false, &|_| {}).await.expect("checked");
    assert!(report.is_sound(), "{:?}", report.problems);
}
