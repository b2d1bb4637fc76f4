//! Golden cases: configurations as they are in use, and what becomes of them.

use super::*;
use crate::config::Sources;

fn variables(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Translates, and checks that the settings load from a file.
fn translated(yaml: &str, environment: &[(&str, &str)]) -> Imported {
    let imported = import(yaml, variables(environment)).expect("translated");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("orlop.toml");
    std::fs::write(&file, imported.to_toml()).expect("written");
    Config::load(&Sources { file: Some(file), ..Sources::default() }).expect("loaded");
    imported
}

fn error(yaml: &str) -> String {
    import(yaml, []).expect_err("rejected").to_string()
}

fn remark<'a>(imported: &'a Imported, key: &str) -> &'a str {
    let found = imported.remarks.iter().find(|remark| remark.key == key);
    &found.unwrap_or_else(|| panic!("no remark about {key}: {:#?}", imported.remarks)).text
}

fn keys(imported: &Imported) -> Vec<&str> {
    imported.remarks.iter().map(|remark| remark.key.as_str()).collect()
}

/// The file of the image `registry:2`.
#[test]
fn translates_the_file_of_the_image() {
    let imported = translated(
        "version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
",
        &[],
    );
    let expected = "[server]\nlisten = \"0.0.0.0:5000\"\n\n[storage]\ndata = \"/var/lib/registry/orlop\"\n";
    assert_eq!(imported.to_toml(), expected);
    assert!(imported.steps[0].contains("`orlop adopt /var/lib/registry`"), "{:?}", imported.steps);
    assert!(imported.steps[1].starts_with("anyone who can reach the port may"), "{:?}", imported.steps);
    let expected = ["storage.delete.enabled", "health", "http.headers", "log.fields", "storage.cache"];
    assert_eq!(keys(&imported), expected);
}

#[test]
fn translates_a_registry_with_tls_and_users() {
    let imported = translated(
        "version: 0.1
log:
  level: warn
  formatter: json
  accesslog: {disabled: true}
storage:
  delete: {enabled: true}
  filesystem: {rootdirectory: /srv/registry/, maxthreads: 100}
  maintenance:
    uploadpurging: {enabled: true, age: 168h, interval: 24h, dryrun: false}
    readonly: {enabled: false}
auth:
  htpasswd: {realm: basic-realm, path: /auth/htpasswd}
http:
  addr: 10.0.0.1:443
  host: https://registry.example.com
  secret: asecretforlocaldevelopment
  relativeurls: true
  draintimeout: 1m30s
  tls:
    certificate: /certs/tls.crt
    key: /certs/tls.key
    clientcas: [/certs/ca.crt]
    minimumtls: tls1.2
  headers:
    Access-Control-Allow-Origin: ['https://ui.example.com']
    Access-Control-Allow-Methods: ['HEAD', 'GET']
  debug: {addr: ':5001', prometheus: {enabled: true, path: /metrics}}
catalog: {maxentries: 500}
validation: {manifests: {indexes: {platforms: none}}}
",
        &[],
    );
    let expected = r#"[auth]
htpasswd = "/auth/htpasswd"
mode = "closed"

[lists]
max_page = 500
page = 500

[log]
access = false
format = "json"
level = "warn"

[manifests]
sparse = "allow"

[server]
cors_origins = ["https://ui.example.com"]
drain_timeout = "1m 30s"
listen = "10.0.0.1:443"
public_url = "https://registry.example.com"
tls_certificate = "/certs/tls.crt"
tls_client_ca = "/certs/ca.crt"
tls_key = "/certs/tls.key"

[storage]
data = "/srv/registry/orlop"

[uploads]
expire = "7d"
"#;
    assert_eq!(imported.to_toml(), expected);
    assert!(remark(&imported, "http.debug").contains("/metrics are on its own port"));
    assert!(remark(&imported, "http.debug.prometheus").contains("at /metrics of its own port"));
    assert!(remark(&imported, "http.secret").starts_with("not needed"));
    let shown = format!("{:?}", imported.remarks);
    assert!(!shown.contains("asecret"), "values may be secrets: {shown}");
}

/// Without `storage.delete.enabled`, no user gets the right to delete.
#[test]
fn users_get_no_right_that_they_did_not_have() {
    let yaml = "version: 0.1\nstorage: filesystem\nauth: {htpasswd: {realm: r, path: /users}}";
    let imported = translated(yaml, &[]);
    assert!(imported.to_toml().contains("htpasswd_role = \"push\"\nmode = \"closed\""));
}

#[test]
fn variables_override_the_file_as_they_do_there() {
    let yaml = "version: 0.1\nhttp: {addr: ':1', host: 'http://a.example'}\nstorage: {filesystem: {}}";
    let imported = translated(
        yaml,
        &[
            ("REGISTRY_HTTP_ADDR", "localhost:7000"),
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data"),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
            ("REGISTRY_AUTH", "htpasswd"),
            ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry Realm"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/users"),
            ("REGISTRY_URL", "https://old.example"),
            ("OTHER", "ignored"),
        ],
    );
    let expected = r#"[auth]
htpasswd = "/auth/users"
mode = "closed"

[server]
listen = "127.0.0.1:7000"
public_url = "http://a.example"

[storage]
data = "/data/orlop"
"#;
    assert_eq!(imported.to_toml(), expected);
    let address = imported.carried.iter().find(|carried| carried.to == "server.listen").expect("carried");
    assert_eq!(address.from, "http.addr (REGISTRY_HTTP_ADDR)");
    assert_eq!(remark(&imported, "url (REGISTRY_URL)"), "unknown, as to the old registry");
}

#[test]
fn variables_alone_are_enough() {
    let imported = translated("", &[("REGISTRY_HTTP_ADDR", ":5001"), ("REGISTRY_STORAGE", "filesystem")]);
    assert!(imported.to_toml().starts_with("[server]\nlisten = \"0.0.0.0:5001\"\n"));
}

#[test]
fn variables_reach_into_lists() {
    let yaml = "version: 0.1\nhttp: {tls: {certificate: /c, key: /k, clientcas: [/old]}}";
    let imported = translated(yaml, &[("REGISTRY_HTTP_TLS_CLIENTCAS_0", "/new")]);
    assert!(imported.to_toml().contains("tls_client_ca = \"/new\""), "{}", imported.to_toml());
}

#[test]
fn says_that_the_registry_is_a_cache() {
    let yaml = "version: 0.1\nproxy: {remoteurl: 'https://registry-1.docker.io', username: u, password: p}";
    let imported = translated(yaml, &[]);
    let cache = remark(&imported, "proxy.remoteurl");
    assert!(cache.contains("is a pull-through cache of https://registry-1.docker.io"), "{cache}");
    assert_eq!(remark(&imported, "proxy"), "orlop is no pull-through cache");
    assert!(
        !imported.to_toml().contains("data") && imported.steps.iter().all(|step| !step.contains("adopt"))
    );
}

#[test]
fn translates_an_external_token_server() {
    let yaml = "version: 0.1
auth:
  token:
    realm: https://auth.example.com/token
    service: registry
    issuer: auth
    rootcertbundle: /certs/bundle.pem
    autoredirect: false
";
    let imported = translated(yaml, &[]);
    let expected = "[token_authority]\nissuer = \"auth\"\nkeys = \"/certs/bundle.pem\"\n\
                    realm = \"https://auth.example.com/token\"\nservice = \"registry\"\n";
    assert!(imported.to_toml().ends_with(expected), "{}", imported.to_toml());
    let incomplete = translated("version: 0.1\nauth: {token: {realm: 'https://a/'}}", &[]);
    assert!(remark(&incomplete, "auth.token").contains("are all required"));
    let insecure = yaml.replace("https://auth", "http://auth");
    let insecure = translated(&insecure, &[]);
    assert!(remark(&insecure, "auth.token.realm").contains("is not an HTTPS URL"));
}

#[test]
fn what_orlop_cannot_express_is_a_remark() {
    let imported = translated(
        "version: 0.1
loglevel: fatal
http:
  addr: registry.local:5000
  host: https://example.com/registry
  tls: {certificate: /c, letsencrypt: {hosts: [a.example], email: me@a.example}}
notifications: {endpoints: [{name: n, url: 'https://hook.example', headers: {Authorization: [Bearer x]}}]}
redis: {addr: 'localhost:6379'}
middleware: {storage: [{name: cloudfront}]}
somethingnew: {a: 1}
",
        &[],
    );
    assert_eq!(
        imported.to_toml(),
        "[log]\nlevel = \"error\"\n\n[storage]\ndata = \"/var/lib/registry/orlop\"\n"
    );
    assert!(remark(&imported, "http.addr").starts_with("\"registry.local:5000\" is not an IP address"));
    assert!(remark(&imported, "http.host").contains("is not a URL without a path"));
    assert!(remark(&imported, "http.tls.certificate").contains("both a certificate and a key"));
    assert!(remark(&imported, "http.tls.letsencrypt").contains("names = [\"a.example\"]"));
    for key in ["notifications", "redis", "middleware", "somethingnew.a"] {
        remark(&imported, key);
    }
}

#[test]
fn other_storage_is_an_error_that_says_what_to_do() {
    let s3 = error("version: 0.1\nstorage: {s3: {bucket: b, secretkey: x}, delete: {enabled: true}}");
    assert!(s3.starts_with("storage.s3: orlop stores images in a directory only"), "{s3}");
    assert!(s3.contains("crane copy"), "{s3}");
    assert!(error("version: 0.1\nstorage: inmemory").starts_with("storage.inmemory"));
}

#[test]
fn other_files_are_rejected() {
    assert!(error("a: [").contains("not valid YAML"));
    for other in ["hello", "services: {registry: {image: registry}}", "version: '3'\nservices: {}", "- 1"] {
        assert!(error(other).contains("`version: 0.1`"), "{other}");
    }
    assert!(error(&" ".repeat(MAX_CONFIG_BYTES + 1)).contains("larger than 1 MiB"));
}

#[test]
fn a_variable_overrides_a_value_that_is_no_mapping() {
    let imported = translated("version: 0.1\nhttp: 5", &[("REGISTRY_HTTP_ADDR", ":9000")]);
    assert!(imported.to_toml().contains("listen = \"0.0.0.0:9000\""));
}
