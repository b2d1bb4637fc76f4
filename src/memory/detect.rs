//! Detects how much memory the machine or the control group provides.

use std::fs;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// The minimum default budget.
const MIN_DEFAULT: u64 = 16 * MIB;

/// The maximum default budget: a registry streams its content and has no use for more.
const MAX_DEFAULT: u64 = 256 * MIB;

/// Returns the default budget: a quarter of the memory of the machine or of the control group, whichever is smaller,
/// between 16 and 256 MiB.
pub fn default_budget() -> u64 {
    let limits = control_group_limits(Path::new("/sys/fs/cgroup"), &read("/proc/self/cgroup"));
    let memory = limits.into_iter().chain(total_memory(&read("/proc/meminfo"))).min();
    share_of(memory)
}

fn share_of(memory: Option<u64>) -> u64 {
    memory.map_or(MIN_DEFAULT, |bytes| (bytes / 4).clamp(MIN_DEFAULT, MAX_DEFAULT))
}

/// Reads a file; absent or unreadable ones are empty and limit nothing.
fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Parses `MemTotal` of `/proc/meminfo`, in bytes.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Returns the limits of the control groups of this process and of their parents, of version 2 and version 1.
/// `membership` is the content of `/proc/self/cgroup`.
fn control_group_limits(root: &Path, membership: &str) -> Vec<u64> {
    let mut limits = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next().unwrap_or_default();
        let group = fields.next().unwrap_or_default().trim_start_matches('/');
        if controllers.is_empty() {
            limits.extend(limits_upwards(root, group, "memory.max"));
        } else if controllers.split(',').any(|controller| controller == "memory") {
            limits.extend(limits_upwards(&root.join("memory"), group, "memory.limit_in_bytes"));
        }
    }
    limits
}

/// Returns the limits in `file` of `group` and of every parent up to `root`. Inside a container the group's own path
/// may not be mounted; its limit is that of the root.
fn limits_upwards(root: &Path, group: &str, file: &str) -> Vec<u64> {
    let lowest = root.join(group);
    let within_root = lowest.ancestors().take_while(|path| path.starts_with(root));
    // Ignores "max" and missing files.
    within_root.filter_map(|path| read(path.join(file)).trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_a_quarter_within_bounds() {
        assert_eq!(share_of(None), 16 * MIB);
        assert_eq!(share_of(Some(8 * MIB)), 16 * MIB);
        assert_eq!(share_of(Some(512 * MIB)), 128 * MIB);
        assert_eq!(share_of(Some(u64::MAX)), 256 * MIB);
    }

    #[test]
    fn reads_the_memory_of_the_machine() {
        let meminfo = "MemTotal:        8034440 kB\nMemFree:          145 kB\n";
        assert_eq!(total_memory(meminfo), Some(8_034_440 * 1024));
        assert_eq!(total_memory("MemTotal: much"), None);
    }

    #[test]
    fn reads_limits_of_both_versions_and_of_parent_groups() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("in a directory")).expect("created");
            fs::write(path, text).expect("written");
        };
        write("system.slice/memory.max", "1000\n");
        write("system.slice/orlop.service/memory.max", "max\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/docker/abc/memory.limit_in_bytes", "3000\n");
        let limits = |membership| control_group_limits(root.path(), membership);
        assert_eq!(limits("0::/system.slice/orlop.service\n"), [1000]);
        assert_eq!(limits("4:cpu,memory:/docker/abc\n"), [3000, 9_223_372_036_854_771_712]);
        assert_eq!(limits("4:cpu:/docker/abc\n"), [0; 0]);
        // The group as the host names it, which is not mounted here.
        write("memory.max", "2000\n");
        assert_eq!(limits("0::/../../kubepods/pod1\n"), [2000]);
        assert_eq!(limits("0::/kubepods/pod1\n"), [2000]);
    }
}
