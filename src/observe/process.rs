//! The share of the machine that this process takes, under the names that Prometheus' own libraries use.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

use super::page::{Kind, Number, Page};

/// Adds the families of the process. Figures that the system does not tell are left out.
pub(super) fn render(page: &mut Page) {
    if let Some(bytes) = resident_bytes() {
        let help = "Resident memory of the process.";
        page.foreign_family("process_resident_memory_bytes", Kind::Gauge, help);
        page.sample(&[], bytes);
    }
    let help = "User and system CPU time of the process.";
    page.foreign_family("process_cpu_seconds_total", Kind::Counter, help);
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    page.sample(&[], Number(spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9));
    // The folder is itself open while it is read.
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.foreign_family("process_open_fds", Kind::Gauge, "Open file descriptors.");
        page.sample(&[], (open.count() as u64).saturating_sub(1));
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
