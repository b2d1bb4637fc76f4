//! Untrusted text from clients is escaped before it reaches the operator's terminal.

use std::time::{Duration, Instant};

use orlop::printable::is_unprintable;

use super::{Place, Ran, Server, ask};

/// Control characters, and characters that change the direction of text.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}[31m\u{9b}2J\u{202e}\u{2066}\u{200f}\u{61c}\nforged";

/// Pushes an image with hostile text in every field. Returns its manifest's digest.
fn push(server: &Server, tag: &str) -> String {
    let config = serde_json::json!({
        "architecture": format!("amd64{HOSTILE}"), "os": format!("linux{HOSTILE}"), "variant": HOSTILE,
        "config": { "Labels": { HOSTILE: HOSTILE } }, "rootfs": { "type": "layers", "diff_ids": [] },
    });
    server.push("app", tag, config.to_string().as_bytes());
    let platform = serde_json::json!({ "architecture": HOSTILE, "os": HOSTILE, "os.version": HOSTILE });
    let listed = server.manifest_digest("app", tag);
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type, "annotations": { HOSTILE: HOSTILE },
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": listed.digest,
            "size": listed.size, "platform": platform, "annotations": { HOSTILE: HOSTILE },
        }],
    });
    let url = format!("{}/v2/app/manifests/{tag}-index", server.url);
    let (status, body) = ask(reqwest::Method::PUT, &url, media_type, index.to_string().into_bytes());
    assert_eq!(status, 201, "{body}");
    listed.digest
}

fn is_plain(ran: &Ran, what: &str) {
    let hostile = |text: &str| text.contains(|letter| letter != '\n' && is_unprintable(letter));
    assert!(!hostile(&ran.out) && !hostile(&ran.err), "{what}: {ran:?}");
    // A string of TOML may go over several lines, within its quotes.
    let is_toml = ran.out.contains("[[retention.policies]]");
    assert!(is_toml || !ran.out.lines().any(|line| line.starts_with("forged")), "{what}: {ran:?}");
}

#[test]
fn commands_print_no_control_characters() {
    let place = Place::new();
    let server = place.serve();
    let digest = push(&server, "v1");
    push(&server, "v2");
    let set = place.run(&["user", "add", "ann", "--may", "admin", "--json"]);
    assert_eq!(set.code, Some(0), "{set:?}");
    assert_eq!(place.run(&["token", "add", "ann", "--may", "pull", "--name", HOSTILE]).code, Some(0));
    let policy = format!(
        "[[policies]]\nname = \"mine\"\n[[policies.rules]]\nname = {0}\naction = \"keep\"\ntags = [\"v1*\"]\n\
         [[policies.rules]]\nname = \"old\"\naction = \"expire\"\npushed_before = \"1ms\"\n",
        serde_json::json!(HOSTILE).to_string().replace('\u{7f}', "")
    );
    std::fs::write(place.path("mine.toml"), policy).expect("written");
    is_plain(&place.run(&["retention", "set", "mine.toml"]), "set");
    assert_eq!(place.run(&["tag", "delete", "app:v2-index"]).code, Some(0));
    let image = format!("app@{digest}");
    let commands: [&[&str]; 20] = [
        &["repos"],
        &["tags", "app"],
        &["tags", "app", "--json"],
        &["tags", HOSTILE],
        &["usage"],
        &["usage", "app"],
        &["usage", "--json"],
        &["why", "app:v1"],
        &["why", &image],
        &["why", &digest],
        &["tag", "history", "app:v1"],
        &["trash", "list"],
        &["user", "list"],
        &["org", "grants"],
        &["token", "list"],
        &["token", "list", "--json"],
        &["retention", "plan"],
        &["retention", "policies"],
        &["can", "ann", "push", "app"],
        &["fsck"],
    ];
    for command in commands {
        is_plain(&place.run(command), &format!("{command:?}"));
    }
    assert!(
        place.run(&["token", "list"]).out.contains("\\u{1b}]0;owned\\u{7}"),
        "it is printed, but escaped"
    );
    let until = Instant::now() + Duration::from_secs(10);
    while !place.run(&["audit"]).out.contains("tag-delete") {
        assert!(Instant::now() < until, "the entry is written soon");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(server.end(), Some(0));
    for command in [&["audit"][..], &["events"], &["scrub"], &["gc", "--dry-run"], &["backup", "copy"]] {
        is_plain(&place.run(command), &format!("{command:?}"));
    }
}
