//! Captures the log of all servers of all tests: a subscriber for a single thread would lose events that another thread
//! logs first.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("lock").extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The log since the first call.
    pub fn of_all() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let writer = log.clone();
            tracing_subscriber::fmt()
                .json()
                .with_env_filter("orlop::access=info,orlop::http=warn")
                .with_writer(move || writer.clone())
                .init();
            log
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("lock").clone()).expect("UTF-8")
    }

    /// The fields of each line.
    pub fn entries(&self) -> Vec<Value> {
        let text = self.text();
        let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        entries.map(|entry| entry["fields"].clone()).collect()
    }
}
