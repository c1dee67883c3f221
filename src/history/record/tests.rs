use serde_json::json;

use chrono::TimeDelta;

use super::*;
use crate::history::{History, Row};
use crate::job::SkipReason;

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-08-24T{text}Z").parse().unwrap()
}

fn name() -> JobName {
    JobName::new("vault_sync")
}

fn queued(instant: &str) -> RunRecord {
    let instant = at(instant);
    RunRecord { lateness_s: 0.25, ..RunRecord::queued(&name(), instant) }
}

fn skipped(first: &str, last: &str, count: u64, reason: SkipReason) -> Skip {
    Skip { last: at(last), count, lateness_s: 0.25, ..Skip::new(&name(), at(first), reason) }
}

fn write<T>(
    recorder: &mut Recorder,
    work: impl FnOnce(&mut Writer<'_>) -> rusqlite::Result<T>,
) -> T {
    recorder.write(Durability::Full, work).unwrap()
}

fn open_runs(dir: &Path) -> Vec<OpenRun> {
    History::open(dir).unwrap().unwrap().open_runs().unwrap()
}

fn history(dir: &Path) -> Vec<Row> {
    History::open(dir).unwrap().unwrap().recent(None, 100).unwrap()
}

fn runs(dir: &Path) -> Vec<RunRecord> {
    history(dir).iter().filter_map(Row::run).cloned().collect()
}

#[test]
fn a_run_is_read_back_as_it_was_written() {
    let temp = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::open(temp.path()).unwrap();
    let mut run = queued("10:00:00");
    run.coalesced = 3;
    let (row, _) = write(&mut recorder, |writer| writer.run(&run, 0, 0)).unwrap();
    assert_eq!(runs(temp.path()), std::slice::from_ref(&run));

    run.state = RunState::Running;
    run.started_at = Some(at("10:00:01.5"));
    run.queue_wait_s = Some(1.25);
    write(&mut recorder, |writer| writer.running(row, &run));
    assert_eq!(open_runs(temp.path())[0].record, run);

    run.state = RunState::Failed;
    run.finished_at = Some(at("10:00:03"));
    run.duration_s = Some(1.5);
    run.attempt = 3;
    run.error = Some("no route".to_owned());
    run.stats.insert("errors".to_owned(), json!(2));
    write(&mut recorder, |writer| writer.finish(row, &run));
    assert_eq!(runs(temp.path()), std::slice::from_ref(&run));
    assert_eq!(open_runs(temp.path()), []);
    let history = History::open(temp.path()).unwrap().unwrap();
    assert_eq!(history.last_run(&name()).unwrap(), Some(run));
    assert_eq!(history.recent(Some(&JobName::new("other")), 9).unwrap(), []);
}

#[test]
fn an_instant_never_makes_a_second_run() {
    let temp = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::open(temp.path()).unwrap();
    let run = queued("10:00:00");
    let mut again = |epoch, rerun| write(&mut recorder, |writer| writer.run(&run, epoch, rerun));
    assert!(again(0, 0).is_some());
    assert!(again(0, 0).is_none(), "a second decision of the same instant");
    assert!(again(1, 0).is_some(), "the clock was set back");
    assert!(again(0, 1).is_some(), "a run that was cut off is run again");
}

/// A skip used to share its id with a run of that second, as when the clock was set back or two ends come close together.
#[test]
fn no_two_rows_have_one_id() {
    let temp = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::open(temp.path()).unwrap();
    write(&mut recorder, |w| w.run(&queued("10:00:00"), 0, 0));
    for epoch in [1, 2] {
        let mut skip = skipped("10:00:00", "10:05:00", 6, SkipReason::Misfire);
        write(&mut recorder, |w| w.skip(&mut skip, epoch, |_| false));
    }
    write(&mut recorder, |w| w.run(&queued("10:00:00"), 3, 0));
    let id = |row: &Row| match row {
        Row::Run(run) => run.run_id.clone(),
        Row::Skip(skip) => skip.run_id.clone(),
    };
    let mut ids: Vec<_> = history(temp.path()).iter().map(id).collect();
    ids.sort_by_key(|id| id.as_str().to_owned());
    let all = ids.len();
    ids.dedup();
    assert_eq!((all, ids.len()), (4, 4), "{ids:?}");
}

#[test]
fn a_month_of_pause_is_one_row() {
    let temp = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::open(temp.path()).unwrap();
    let each_minute = |last, skip: &Skip| last + TimeDelta::minutes(1) == skip.first;
    let mut skip = |skip: &Skip, epoch| {
        let mut row = skip.clone();
        write(&mut recorder, |w| w.skip(&mut row, epoch, |last| each_minute(last, skip)))
    };
    let paused = SkipReason::Paused;
    assert_eq!(skip(&skipped("10:00:00", "10:00:00", 1, paused), 0), Skipped::New);
    assert_eq!(skip(&skipped("10:01:00", "10:05:00", 5, paused), 0), Skipped::Merged);
    // Another reason, another epoch, an instant in between, an older one: each begins a row.
    assert_eq!(skip(&skipped("10:06:00", "10:06:00", 1, SkipReason::Misfire), 0), Skipped::New);
    assert_eq!(skip(&skipped("10:07:00", "10:07:00", 1, SkipReason::Misfire), 1), Skipped::New);
    assert_eq!(skip(&skipped("10:09:00", "10:09:00", 1, SkipReason::Misfire), 1), Skipped::New);
    assert_eq!(skip(&skipped("10:08:00", "10:08:00", 1, SkipReason::Misfire), 1), Skipped::New);
    let rows = history(temp.path());
    // Decided when its last instant was.
    let joined = Skip { decided_at: at("10:01:00"), ..skipped("10:00:00", "10:05:00", 6, paused) };
    assert_eq!(rows.last(), Some(&Row::Skip(joined)));
    assert_eq!(rows.len(), 5);
    // A run in between ends the stretch.
    write(&mut recorder, |w| w.run(&queued("10:10:00"), 1, 0));
    let after = skipped("10:09:00", "10:09:00", 1, SkipReason::Misfire);
    assert_eq!(write(&mut recorder, |w| w.skip(&mut after.clone(), 1, |_| true)), Skipped::New);
}

#[test]
fn what_a_dead_process_left_is_interrupted_and_told_once() {
    let temp = tempfile::tempdir().unwrap();
    let mut dead = Recorder::open(temp.path()).unwrap();
    let mut stopped = queued("09:00:00");
    stopped.state = RunState::Interrupted;
    stopped.error = Some("stopped".to_owned());
    write(&mut dead, |w| {
        let (row, _) = w.run(&stopped, 0, 0)?.expect("the first");
        w.interrupt(row, &stopped)?;
        w.run(&queued("10:00:00"), 2, 1)?;
        let mut manual = queued("10:00:00");
        manual.trigger = Trigger::Manual;
        w.run(&manual, 0, 0)
    });
    drop(dead);

    let states = |dir| runs(dir).iter().map(|run| run.state).collect::<Vec<_>>();
    assert_eq!(states(temp.path()), [RunState::Interrupted; 3], "whoever looks sees it");
    let mut next = Recorder::open(temp.path()).unwrap();
    assert_eq!(open_runs(temp.path()), []);
    write(&mut next, |w| w.run(&queued("11:00:00"), 0, 0));
    let cut_off = next.take_over(at("12:00:00")).unwrap();
    let told: Vec<_> = cut_off.iter().map(|c| (c.record.scheduled_for, c.epoch, c.rerun)).collect();
    assert_eq!(told, [(at("09:00:00"), 0, 0), (at("10:00:00"), 2, 1)]);
    assert_eq!(cut_off[0].record.error.as_deref(), Some("stopped"));
    assert_eq!(cut_off[1].record.finished_at, Some(at("12:00:00")));
    assert_eq!(next.take_over(at("13:00:00")).unwrap(), [], "they have an owner again");
    assert_eq!(runs(temp.path())[0].state, RunState::Queued, "its own run lives");
    // A crash before both were settled: the one that was not is found again.
    write(&mut next, |w| w.finish(cut_off[0].row, &cut_off[0].record));
    drop(next);
    let mut last = Recorder::open(temp.path()).unwrap();
    let told: Vec<_> = last.take_over(at("14:00:00")).unwrap();
    let told: Vec<_> = told.iter().map(|c| (c.record.scheduled_for, c.rerun)).collect();
    assert_eq!(told, [(at("10:00:00"), 1), (at("11:00:00"), 0)]);
}

#[test]
fn runs_of_other_live_processes_are_counted() {
    let temp = tempfile::tempdir().unwrap();
    let mut daemon = Recorder::open(temp.path()).unwrap();
    let mut other = Recorder::open(temp.path()).unwrap();
    write(&mut daemon, |w| w.run(&queued("10:00:00"), 0, 0));
    let mut manual = queued("10:00:30");
    manual.trigger = Trigger::Manual;
    write(&mut other, |w| w.run(&manual, 0, 0));
    let elsewhere = write(&mut daemon, |w| w.runs_elsewhere());
    assert_eq!(elsewhere, BTreeMap::from([(name(), 1)]));
    let open = write(&mut other, |w| w.open_runs_of(&name()));
    assert_eq!(open.len(), 2);
    assert_eq!(open[0].holder.pid, Some(std::process::id()));
    drop(other);
    assert_eq!(write(&mut daemon, |w| w.runs_elsewhere()), BTreeMap::new());
}

#[test]
fn watermarks_and_what_waits_are_remembered() {
    let temp = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::open(temp.path()).unwrap();
    write(&mut recorder, |w| {
        w.decided_until(&name(), "0 * * * * UTC", at("10:00:00"), 0)?;
        w.decided_until(&name(), "0 * * * * UTC", at("11:00:00"), 1)?;
        w.wait(&name(), at("10:00:00"), 1)?;
        w.wait(&name(), at("09:00:00"), 1)?;
        w.wait(&name(), at("08:00:00"), 1)?;
        w.unwait(&name(), at("08:00:00"), 1)
    });
    drop(recorder);
    let remembered = Recorder::open(temp.path()).unwrap().remembered().unwrap();
    let expected = Remembered {
        schedule: "0 * * * * UTC".to_owned(),
        decided_until: at("11:00:00"),
        epoch: 1,
        waiting: vec![(at("09:00:00"), 1), (at("10:00:00"), 1)],
    };
    assert_eq!(remembered, BTreeMap::from([(name(), expected)]));
}

#[test]
fn old_rows_go_and_what_is_needed_stays() {
    let temp = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::open(temp.path()).unwrap();
    write(&mut recorder, |w| {
        for instant in ["08:00:00", "09:00:00", "10:00:00"] {
            let mut run = queued(instant);
            run.state = RunState::Succeeded;
            let (row, _) = w.run(&run, 0, 0)?.expect("the first");
            w.finish(row, &run)?;
        }
        w.skip(&mut skipped("10:30:00", "10:30:00", 1, SkipReason::Overlap), 0, |_| false)?;
        let mut manual = queued("07:00:00");
        manual.trigger = Trigger::Manual;
        manual.job = JobName::new("long");
        w.run(&manual, 0, 0)
    });
    while recorder.prune(at("12:00:00"), 1).unwrap() {}
    let left: Vec<_> = history(temp.path()).iter().map(Row::scheduled_for).collect();
    assert_eq!(left, [at("07:00:00"), at("10:00:00")], "what still runs, and the last run");
}

#[test]
fn an_occurrence_of_another_process_is_told_and_nothing_is_read_where_nobody_wrote() {
    let temp = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::open(temp.path()).unwrap();
    let mut other = Recorder::open(temp.path()).unwrap();
    let mut told = move || recorder.newly_waiting().unwrap().len();
    assert_eq!((told(), told(), told()), (0, 0, 0));
    write(&mut other, |w| w.wait(&name(), at("10:00:00"), 0));
    // Once more, since a disk's coarse clock may have hidden a second commit.
    assert_eq!((told(), told()), (1, 1));
    assert_eq!((told(), told()), (0, 0), "nobody has written");
    write(&mut other, |w| w.wait(&name(), at("11:00:00"), 0));
    assert_eq!(told(), 2);
}

#[test]
fn what_waits_is_told_again_where_that_is_asked_for() {
    let temp = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::open(temp.path()).unwrap();
    write(&mut recorder, |w| w.wait(&name(), at("10:00:00"), 0));
    let told: Vec<usize> = (0..3).map(|_| recorder.newly_waiting().unwrap().len()).collect();
    assert_eq!(told, [1, 1, 0]);
    recorder.ask_again();
    assert_eq!(recorder.newly_waiting().unwrap().len(), 1);
}

#[test]
fn a_removed_file_is_noticed_and_begun_again() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("state");
    let mut recorder = Recorder::open(&dir).unwrap();
    assert!(recorder.is_in_place());
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(!recorder.is_in_place());
    assert!(recorder.reopen().unwrap(), "it is another file");
    assert!(recorder.is_in_place());
    write(&mut recorder, |w| w.run(&queued("10:00:00"), 0, 0));
    assert_eq!(open_runs(&dir).len(), 1);
    std::fs::remove_dir_all(dir.join("owners")).unwrap();
    assert!(!recorder.is_in_place());
    assert!(!recorder.reopen().unwrap(), "it is the same file");
    assert_eq!(open_runs(&dir).len(), 1, "its runs are still known to live");
}
