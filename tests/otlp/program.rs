//! Runs `orlop serve` with its own temporary store.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};
use tempfile::TempDir;

/// A running server, until [`Program::stop`].
pub struct Program {
    process: Child,
    url: String,
    log: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
    client: Client,
    _dir: TempDir,
}

impl Program {
    /// Starts the server with a collector and extra environment variables, and waits until it serves.
    pub fn start(collector: &str, variables: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().to_uppercase();
            if name.starts_with("ORLOP_") || name.starts_with("OTEL_") || name.ends_with("_PROXY") {
                command.env_remove(&name).env_remove(name.to_lowercase());
            }
        }
        command.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(dir.path());
        command.envs([("ORLOP_STORAGE__MIN_FREE", "64MiB"), ("ORLOP_GC__INTERVAL", "100ms")]);
        command
            .envs([("ORLOP_AUTH__ADMIN_PASSWORD", super::PASSWORD), ("ORLOP_TRACES__ENDPOINT", collector)]);
        command.envs(variables.iter().copied()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let mut stderr = BufReader::new(process.stderr.take().expect("piped"));
        let log = Arc::new(Mutex::new(String::new()));
        let url = read_url(&mut stderr);
        let shared = Arc::clone(&log);
        let reading = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                shared.lock().expect("lock").extend([&line, "\n"]);
            }
        });
        let client = Client::builder().no_proxy().build().expect("a client");
        Self { process, url, log, reading: Some(reading), client, _dir: dir }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub fn port(&self) -> String {
        self.url.rsplit(':').next().expect("a port").to_owned()
    }

    /// The log since the server started to serve.
    pub fn log(&self) -> String {
        self.log.lock().expect("lock").clone()
    }

    /// Waits until the log contains `text`.
    pub async fn wait_for_log(&self, text: &str) {
        let wait = async {
            while !self.log().contains(text) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(), "{}", self.log());
    }

    /// Stops the server with SIGTERM and returns how long that took.
    pub fn stop(&mut self) -> Duration {
        let started = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("alive");
        assert!(self.process.wait().expect("it ends").success(), "{}", self.log());
        let took = started.elapsed();
        let _ = self.reading.take().map(JoinHandle::join);
        took
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The server still runs if the test failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read_url(log: &mut impl BufRead) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).expect("readable"), 0, "it ended before it served");
        if let Some((_, rest)) = line.split_once(" at ") {
            return rest.split(',').next().unwrap_or_default().to_owned();
        }
    }
}
