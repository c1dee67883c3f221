//! Fire times: one cron line, and a planner with many jobs of which few are due.
//!
//! `cargo bench --bench plan`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aclarai_scheduler::inside::clock::Moment;
use aclarai_scheduler::inside::config::{Env, JobName, JobSpec, Overrides, from_text};
use aclarai_scheduler::inside::schedule::{Schedule, Zone};
use aclarai_scheduler::inside::scheduler::{Planner, Surroundings};
use chrono::{DateTime, TimeDelta, Utc};
use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

fn noon() -> DateTime<Utc> {
    "2026-08-24T12:00:30Z".parse().expect("a constant")
}

#[divan::bench(args = ["*/30 * * * *", "0 3 * * 1", "0 0 29 2 *"])]
fn next_fire_time(bencher: Bencher<'_, '_>, line: &str) {
    let zone = Zone::parse("Europe/Berlin").expect("a constant");
    let schedule = Schedule::parse(line, zone).expect("a constant");
    bencher.bench(|| schedule.next_after(divan::black_box(noon())));
}

/// Ticks of one minute, each job firing once an hour.
#[divan::bench(args = [10, 1_000, 100_000], sample_count = 20)]
fn tick(bencher: Bencher<'_, '_>, jobs: usize) {
    let mut planner = Planner::new(moment(0), BTreeMap::new());
    planner.schedule(specs(jobs), noon());
    let mut minute = 0;
    bencher.counter(ItemsCount::new(jobs.div_ceil(60))).bench_local(|| {
        minute += 1;
        let moment = moment(minute);
        let plan = planner.plan(moment, &Surroundings::default());
        planner.accept(plan);
    });
}

fn moment(minutes: u64) -> Moment {
    let passed = Duration::from_secs(60 * minutes);
    let wall = noon() + TimeDelta::from_std(passed).expect("not that many minutes");
    Moment { wall, monotonic: passed, boottime: passed }
}

fn specs(jobs: usize) -> Vec<Arc<JobSpec>> {
    let yaml: String = (0..60)
        .map(|minute| {
            format!("    m{minute}: {{enabled: true, cron: \"{minute} * * * *\", command: [\"true\"], max_instances: 1000000}}\n")
        })
        .collect();
    let yaml = format!("scheduler:\n  jobs:\n{yaml}");
    let env = Env::new("/", [("HOME", "/")]);
    let config = from_text(&yaml, "bench", &Overrides::default(), &env).expect("a constant");
    let models: Vec<&Arc<JobSpec>> =
        config.scheduler.jobs.values().filter(|spec| spec.command.is_some()).collect();
    (0..jobs)
        .map(|job| {
            let model = JobSpec::clone(models[job % models.len()]);
            Arc::new(JobSpec { name: JobName::new(&format!("job{job}")), ..model })
        })
        .collect()
}
