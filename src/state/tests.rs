use std::os::unix::fs::PermissionsExt;

use super::migrations::MIGRATIONS;
use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_state_folder_is_private_and_migrated() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("deep/state");
    let state = State::open(&dir).unwrap();
    assert_eq!((mode(&dir), mode(&dir.join(FILE))), (0o700, 0o600));
    let pragma = |name: &str| -> String {
        let value: rusqlite::types::Value =
            state.connection().pragma_query_value(None, name, |row| row.get(0)).unwrap();
        format!("{value:?}")
    };
    assert_eq!(pragma("user_version"), format!("Integer({})", MIGRATIONS.len()));
    assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
    assert_eq!(pragma("synchronous"), "Integer(2)");
    assert_eq!(state.moved_aside(), None);
}

/// How many locks this process holds on a file, as the system tells it for each open descriptor. The table of all locks,
/// `/proc/locks`, leaves entries out while others come and go.
fn locks(path: &Path) -> usize {
    let path = fs::canonicalize(path).unwrap();
    let opened = fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    let ours = opened.filter(|fd| fs::read_link(fd.path()).is_ok_and(|place| place == path));
    let told = ours.map(|fd| Path::new("/proc/self/fdinfo").join(fd.file_name()));
    let told = told.filter_map(|info| fs::read_to_string(info).ok());
    told.map(|info| info.lines().filter(|line| line.starts_with("lock:")).count()).sum()
}

#[test]
fn opening_and_looking_once_more_gives_no_lock_of_this_process_back() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join(FILE);
    let state = State::open(temp.path()).unwrap();
    state.connection().execute("INSERT INTO meta VALUES ('a', 1)", []).unwrap();
    let held = locks(&path);
    assert!(held > 0, "the connection holds the file");
    drop(State::open(temp.path()).unwrap());
    drop(State::open_cache(temp.path()).unwrap());
    State::examine(temp.path()).unwrap();
    sqlite::back_up(&path, &temp.path().join("copy.db")).unwrap();
    assert_eq!(locks(&path), held);
    assert!(state.is_in_place());
    // Another program that takes the file for unused does this.
    fs::remove_file(log_of(&path)).unwrap();
    assert!(!state.is_in_place());
    let names: Vec<_> =
        fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains(".new-")), "{names:?}");
}

#[test]
fn an_older_file_is_lifted_and_keeps_what_it_holds() {
    for old in 0..MIGRATIONS.len() {
        let temp = tempfile::tempdir().unwrap();
        let file = Connection::open(temp.path().join(FILE)).unwrap();
        for (version, migration) in (1u32..).zip(&MIGRATIONS[..old]) {
            file.execute_batch(migration).unwrap();
            file.pragma_update(None, "user_version", version).unwrap();
            if version > FORMAT.unmarked {
                file.pragma_update(None, "application_id", FORMAT.application_id).unwrap();
            }
        }
        if old > FORMAT.unmarked as usize {
            file.pragma_update(None, "application_id", FORMAT.application_id).unwrap();
        }
        if old > 0 {
            file.execute("INSERT INTO meta VALUES ('kept', 7)", []).unwrap();
        }
        drop(file);
        let state = State::open(temp.path()).unwrap();
        let ask = |sql: &str| state.connection().query_row(sql, [], |row| row.get::<_, i64>(0));
        assert_eq!(ask("PRAGMA user_version").unwrap(), MIGRATIONS.len() as i64, "from {old}");
        let kept = ask("SELECT sum(value) FROM meta").unwrap_or_default();
        assert_eq!(kept, if old > 0 { 7 } else { 0 }, "from {old}");
        // Every table is there, whichever migration makes it.
        ask("SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM files)").unwrap();
    }
}

#[test]
fn a_migration_that_fails_leaves_the_older_file() {
    let temp = tempfile::tempdir().unwrap();
    let file = Connection::open(temp.path().join(FILE)).unwrap();
    file.execute_batch(MIGRATIONS[0]).unwrap();
    file.pragma_update(None, "user_version", 1).unwrap();
    // In the way of the last table that the second migration makes.
    file.execute_batch("CREATE TABLE missing_blocks (x)").unwrap();
    assert!(matches!(State::open(temp.path()), Err(StateError::Sqlite { .. })));
    let tables: i64 = file
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'files'", [], |row| row.get(0))
        .unwrap();
    let version: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!((tables, version), (0, 1), "all of it or nothing");
}

#[test]
fn many_processes_may_open_a_new_folder_at_once() {
    let temp = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| State::open(temp.path()).unwrap());
        }
    });
}

/// A state file of ours whose pages after the header are junk.
fn damaged(temp: &Path) -> Vec<u8> {
    drop(State::open(temp).unwrap());
    let mut bytes = fs::read(temp.join(FILE)).unwrap();
    bytes[100..].fill(0xa5);
    fs::write(temp.join(FILE), &bytes).unwrap();
    bytes
}

#[test]
fn a_damaged_file_of_ours_is_moved_aside_with_its_log() {
    for zeroed in [false, true] {
        let temp = tempfile::tempdir().unwrap();
        let mut bytes = damaged(temp.path());
        if zeroed {
            // A power cut can leave this of a file that was just made longer.
            bytes.fill(0);
            fs::write(temp.path().join(FILE), &bytes).unwrap();
        }
        fs::write(temp.path().join("state.db-wal"), "stale").unwrap();
        fs::set_permissions(temp.path().join("state.db-wal"), fs::Permissions::from_mode(0o600))
            .unwrap();
        let state = State::open(temp.path()).unwrap();
        let aside = state.moved_aside().expect("told where it went").to_owned();
        assert_eq!(fs::read(&aside).unwrap(), bytes);
        state.connection().execute("INSERT INTO meta VALUES ('a', 1)", []).unwrap();
        assert_eq!(State::open(temp.path()).unwrap().moved_aside(), None);
    }
}

#[test]
fn another_programs_file_is_refused_and_left_alone() {
    type Make = fn(&Path);
    let makes: [Make; 6] = [
        |path| fs::write(path, "not a database at all, only some text. ".repeat(100)).unwrap(),
        |path| fs::write(path, "SQLite format 3\0junk".repeat(100)).unwrap(),
        |path| {
            Connection::open(path).unwrap().execute_batch("CREATE TABLE photos (x)").unwrap();
        },
        |path| {
            let other = Connection::open(path).unwrap();
            other.pragma_update(None, "user_version", 2).unwrap();
            other.execute_batch("CREATE TABLE jobs (x)").unwrap();
        },
        |path| {
            let other = Connection::open(path).unwrap();
            other.pragma_update(None, "application_id", 7).unwrap();
        },
        |path| {
            let other = Connection::open(path).unwrap();
            other.pragma_update(None, "user_version", 1).unwrap();
            let tables = "CREATE TABLE runs (x); CREATE TABLE jobs (x); CREATE TABLE meta (x)";
            other.execute_batch(tables).unwrap();
        },
    ];
    for (n, make) in makes.into_iter().enumerate() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(FILE);
        make(&path);
        let before = fs::read(&path).unwrap();
        for error in [
            State::open(temp.path()).unwrap_err(),
            State::open_existing(temp.path()).unwrap_err(),
            State::examine(temp.path()).unwrap_err(),
        ] {
            assert!(matches!(error, StateError::Foreign { .. }), "{n}: {error}");
            assert!(error.to_string().contains("--state-dir"), "{n}: {error}");
        }
        assert!(fs::read(&path).unwrap() == before, "{n}: the file was touched");
    }
}

#[test]
fn a_folder_or_file_that_is_not_this_users_alone_is_refused_with_the_remedy() {
    let temp = tempfile::tempdir().unwrap();
    let refused = |remedy: &str| {
        for error in
            [State::open(temp.path()).unwrap_err(), State::examine(temp.path()).unwrap_err()]
        {
            let error = error.to_string();
            assert!(error.contains(remedy) && error.contains("--state-dir"), "{error}");
        }
    };
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    drop(State::open(temp.path()).unwrap());
    set(temp.path(), 0o777);
    refused("chmod go-w");
    set(temp.path(), 0o700);
    let file = temp.path().join(FILE);
    set(&file, 0o666);
    refused("chmod go-w");
    set(&file, 0o600);
    fs::hard_link(&file, temp.path().join("second")).unwrap();
    refused("hard link");
    fs::remove_file(temp.path().join("second")).unwrap();
    fs::rename(&file, temp.path().join("moved")).unwrap();
    std::os::unix::fs::symlink(temp.path().join("moved"), &file).unwrap();
    refused("remove the link");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(temp.path().join("moved"), temp.path().join("state.db-wal"))
        .unwrap();
    refused("remove the link");
    fs::remove_file(temp.path().join("state.db-wal")).unwrap();
    // Only root can give a folder away.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(temp.path(), Some(12345), None).unwrap();
        refused("run it as that user");
    }
}

#[test]
fn looking_at_an_older_file_lifts_only_a_copy() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join(FILE);
    let file = Connection::open(&path).unwrap();
    file.execute_batch(MIGRATIONS[0]).unwrap();
    file.pragma_update(None, "user_version", 1).unwrap();
    file.execute("INSERT INTO meta VALUES ('kept', 7)", []).unwrap();
    drop(file);
    let before = fs::read(&path).unwrap();
    let state = State::open_existing(temp.path()).unwrap().unwrap();
    let ask = |sql: &str| state.connection().query_row(sql, [], |row| row.get::<_, i64>(0));
    assert_eq!(ask("SELECT value FROM meta").unwrap(), 7);
    assert_eq!(ask("SELECT count(*) FROM files").unwrap(), 0);
    drop(state);
    assert!(fs::read(&path).unwrap() == before);
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
}

#[test]
fn verify_finds_damage_deep_in_the_file() {
    let temp = tempfile::tempdir().unwrap();
    let state = State::open(temp.path()).unwrap();
    for n in 0..2000 {
        let row = (n, "x".repeat(200));
        state.connection().execute("INSERT INTO meta VALUES (?1, ?2)", row).unwrap();
    }
    drop(state);
    let path = temp.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20_000].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let state = State::open(temp.path()).unwrap().verify().unwrap();
    assert!(state.moved_aside().is_some());
    assert!(state.verify().unwrap().moved_aside().is_some(), "a sound file stays as it is");
}

#[test]
fn a_file_gives_back_the_room_that_rows_leave_also_one_from_before_it_could() {
    for old in [false, true] {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(FILE);
        if old {
            let file = Connection::open(&path).unwrap();
            file.execute_batch(MIGRATIONS[0]).unwrap();
            file.pragma_update(None, "user_version", 1).unwrap();
        }
        let state = State::open(temp.path()).unwrap().verify().unwrap();
        for n in 0..500 {
            let row = (n, "x".repeat(4000));
            state.connection().execute("INSERT INTO meta VALUES (?1, ?2)", row).unwrap();
        }
        state.connection().execute("DELETE FROM meta", []).unwrap();
        let pages = || -> i64 {
            let free = |row: &rusqlite::Row<'_>| row.get(0);
            state.connection().pragma_query_value(None, "freelist_count", free).unwrap()
        };
        let before = pages();
        assert!(before > 400, "{before}");
        state.shrink(100).unwrap();
        assert_eq!(pages(), before - 100, "as many as were asked for");
        state.shrink(u32::from(u16::MAX)).unwrap();
        assert_eq!(pages(), 0);
        drop(state);
        let size = fs::metadata(&path).unwrap().len();
        assert!(size < 400 << 10, "{size}");
    }
}

#[test]
fn a_newer_file_is_refused_and_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    State::open(temp.path())
        .unwrap()
        .connection()
        .pragma_update(None, "user_version", 999)
        .unwrap();
    let error = State::open(temp.path()).unwrap_err().to_string();
    assert!(error.contains("newer release (version 999"), "{error}");
    assert!(temp.path().join(FILE).exists());
}

#[test]
fn a_folder_that_cannot_be_made_names_the_remedy() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("file"), "").unwrap();
    let error = State::open(&temp.path().join("file/state")).unwrap_err().to_string();
    assert!(error.contains("file/state: cannot create"), "{error}");
    assert!(error.contains("--state-dir"), "{error}");
}

#[test]
fn looking_creates_nothing() {
    let temp = tempfile::tempdir().unwrap();
    assert!(State::open_existing(temp.path()).unwrap().is_none());
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    fs::write(temp.path().join(FILE), "").unwrap();
    assert!(State::open_existing(temp.path()).unwrap().is_none());
    assert_eq!(fs::metadata(temp.path().join(FILE)).unwrap().len(), 0);
    damaged(temp.path());
    let error = State::open_existing(temp.path()).unwrap_err();
    assert!(matches!(error, StateError::Damaged { .. }), "{error}");
}
