//! Files that are not what they should be, and disks that do not do what they should.

use super::rows::AS_EXPECTED;
use super::*;
use crate::block::{ContentHash, Tier};
use crate::graph::{Content, State, Write};
use crate::stop::after_looks;

fn never() -> Stop {
    Stop::new()
}

fn noon() -> DateTime<Utc> {
    "2026-08-24T12:00:00Z".parse().unwrap()
}

fn create(id: &str, body: &str) -> Change {
    let content = Content {
        text: id.to_owned(),
        hash: ContentHash([1; 32]),
        body: body.to_owned(),
        body_hash: ContentHash([2; 32]),
        version: 1,
        vault_version: 1,
        tier: Tier::One,
        source_file: "/vault/a.md".to_owned(),
        mark: true,
    };
    Change { id: BlockId::new(id), expected: None, write: Write::Content(content) }
}

/// The message with which `path` is refused; the file must be the same after it.
#[track_caller]
fn refused(path: &Path) -> String {
    let before = fs::read(path).ok();
    let Err(error) = SqliteStore::open(path, never()) else {
        panic!("{} was opened", path.display())
    };
    assert_eq!(fs::read(path).ok(), before, "the file was touched");
    match error {
        GraphError::Unavailable(message) => message,
        other => panic!("not a matter for a person: {other:?}"),
    }
}

#[test]
fn a_new_graph_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/deeper/graph.db");
    let store = SqliteStore::open(&path, never()).unwrap();
    store.apply(&[create("a", "")], noon()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_file_name("graph.db-wal")), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let lines = store.check();
    let line = lines.iter().find(|line| line.level != Level::Ok).unwrap();
    assert_eq!((&*line.name, line.level), ("graph.permissions", Level::Warning));
    assert!(line.message.contains("chmod 600"), "{}", line.message);
}

#[test]
fn a_file_that_is_no_graph_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.db");

    fs::write(&path, "# Not a database, but someone's notes.\n".repeat(200)).unwrap();
    assert!(refused(&path).contains("file is not a database"), "{}", refused(&path));
    assert!(refused(&path).contains("databases.embedded.path"));

    fs::remove_file(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE photos (name TEXT)").unwrap();
    drop(other);
    assert!(refused(&path).contains("another program's database"), "{}", refused(&path));

    assert!(refused(folder.path()).contains("not a file"), "{}", refused(folder.path()));
    let below_a_file = path.join("graph.db");
    assert!(
        refused(&below_a_file).contains("databases.embedded.path"),
        "{}",
        refused(&below_a_file)
    );
}

#[test]
fn a_graph_of_a_newer_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.db");
    drop(SqliteStore::open(&path, never()).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let message = refused(&path);
    assert!(message.contains("version 2") && message.contains("newer program"), "{message}");
}

#[test]
fn a_damaged_graph_is_named_with_what_can_be_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.db");
    let store = SqliteStore::open(&path, never()).unwrap();
    let batch: Vec<Change> =
        (0..500).map(|i| create(&format!("blk_{i}"), &"b".repeat(500))).collect();
    store.apply(&batch, noon()).unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    // The first page stays: the file still says that it is a graph.
    bytes[16384..].fill(0xff);
    fs::write(&path, &bytes).unwrap();

    let store = SqliteStore::open(&path, never()).unwrap();
    let Err(GraphError::Unavailable(message)) = store.lookup(&[BlockId::new("blk_1")]) else {
        panic!("damage must be seen")
    };
    assert!(message.contains("damaged") && message.contains(".recover"), "{message}");
    assert!(store.apply(&[create("new", "")], noon()).is_err());
    assert!(store.check().iter().any(|line| line.level == Level::Error));
    drop(store);
    assert_eq!(fs::read(&path).unwrap(), bytes, "damage is for a person to mend");
}

#[test]
fn a_full_disk_loses_nothing_that_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("graph.db"), never()).unwrap();
    store.apply(&[create("a", "")], noon()).unwrap();
    store.pragma(&store.connection(), "max_page_count = 20").unwrap();
    let large: Vec<Change> =
        (0..100).map(|i| create(&format!("blk_{i}"), &"b".repeat(9_000))).collect();
    let Err(GraphError::Unavailable(message)) = store.apply(&large, noon()) else {
        panic!("a full disk is a matter for a person")
    };
    assert!(message.contains("nothing of this batch was written"), "{message}");
    assert!(message.contains("make room on the disk"), "{message}");
    let mut ids = Vec::new();
    store.for_each(&mut |id, _| ids.push(id)).unwrap();
    assert_eq!(ids, [BlockId::new("a")], "all of the batch or nothing");
    store.pragma(&store.connection(), "max_page_count = 2000").unwrap();
    assert_eq!(store.apply(&large, noon()).unwrap(), Applied::default());
}

#[test]
fn a_lock_that_does_not_end_gives_way_to_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.db");
    drop(SqliteStore::open(&path, never()).unwrap());
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let store = SqliteStore::open(&path, after_looks(1)).unwrap();
    assert!(store.lookup(&[]).is_ok(), "a writer does not keep readers out");
    assert!(matches!(store.apply(&[create("a", "")], noon()), Err(GraphError::Cancelled)));
    other.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn a_stop_ends_a_visit_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.db");
    let batch: Vec<Change> = (0..3_000).map(|i| create(&format!("blk_{i}"), "")).collect();
    SqliteStore::open(&path, never()).unwrap().apply(&batch, noon()).unwrap();
    let store = SqliteStore::open(&path, after_looks(0)).unwrap();
    let mut visited = 0;
    assert!(matches!(store.for_each(&mut |_, _| visited += 1), Err(GraphError::Cancelled)));
    assert!(visited < 3_000);
}

#[test]
fn seeks_use_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("graph.db"), never()).unwrap();
    let plan = |sql: &str| -> String {
        let connection = store.connection();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        statement.raw_query().next().unwrap().unwrap().get("detail").unwrap()
    };
    for sql in [
        format!("SELECT {STORED} FROM blocks WHERE id = ?1"),
        format!("UPDATE blocks SET archived = 1 WHERE {AS_EXPECTED}"),
    ] {
        let plan = plan(&sql);
        assert!(plan.contains("USING INDEX") && plan.contains("(id=?)"), "{plan}");
    }
    // Where the number of the row is known, the index of ids is not even asked.
    let plan = plan(&format!("SELECT hash FROM blocks WHERE {}", marks::THIS_ROW));
    assert!(plan.contains("USING INTEGER PRIMARY KEY (rowid=?)"), "{plan}");
}

#[test]
fn marks_are_read_through_an_index_that_the_first_feed_makes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.db");
    let store = SqliteStore::open(&path, never()).unwrap();
    store.apply(&[create("a", "")], noon()).unwrap();
    let plan_of = |store: &SqliteStore, which: &Which| {
        let connection = store.connection();
        let (sql, parameters) = marks::select_marks(&connection, which).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let details = statement.query_map(rusqlite::params_from_iter(parameters), |row| {
            row.get::<_, String>("detail")
        });
        details.unwrap().map(Result::unwrap).collect::<Vec<String>>().join("; ")
    };
    let plan = |store: &SqliteStore| plan_of(store, &Which::default());
    assert!(!plan(&store).contains("INDEX"), "a graph that is not fed from pays for none");
    let looking = SqliteStore::open_to_look(&path, never()).unwrap();
    let mut found = 0;
    looking.marks(&Which::default(), 9, &mut |_| found += 1).unwrap();
    assert_eq!((found, plan(&looking).contains("INDEX")), (1, false), "a look makes nothing");
    store.marks(&Which::default(), 9, &mut |_| {}).unwrap();
    assert!(plan(&store).contains("USING INDEX blocks_marked"), "{}", plan(&store));
    // Nor are archived blocks sorted in memory, or those of a consumer.
    let consumer = Some("search".to_owned());
    for which in
        [Which { archived: true, ..Which::default() }, Which { consumer, ..Which::default() }]
    {
        assert!(!plan_of(&store, &which).contains("blocks_by_age"));
        store.marks(&which, 9, &mut |_| {}).unwrap();
        let plan = plan_of(&store, &which);
        assert!(plan.contains("USING INDEX blocks_by_age") && !plan.contains("TEMP"), "{plan}");
        store.transaction(|c| c.execute("DROP INDEX blocks_by_age", [])).unwrap();
    }
}

#[test]
fn a_block_whose_row_has_another_number_by_now_is_found_by_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.db");
    let store = SqliteStore::open(&path, never()).unwrap();
    store.apply(&["a", "b", "c"].map(|id| create(id, "text")), noon()).unwrap();
    let mut places = Vec::new();
    let mut note = |mark: Mark| places.push(Place { id: mark.id, row: mark.row });
    store.marks(&Which::default(), 9, &mut note).unwrap();
    assert!(places.iter().all(|place| place.row.is_some()));
    // As a tool that cleans the file up may do: nothing promises that a row keeps its number.
    let other = Connection::open(&path).unwrap();
    let move_up = "DELETE FROM blocks WHERE id = 'a'; UPDATE blocks SET rowid = rowid - 1";
    other.execute_batch(move_up).unwrap();
    let found = store.whole(&places).unwrap();
    let ids: Vec<&str> = found.iter().map(|block| block.id.as_str()).collect();
    assert_eq!(ids, ["b", "c"]);
    let state = State::of(1, found[0].hash.as_deref(), found[0].body_hash.as_deref());
    let handed_out = |at: usize| HandedOut { place: places[at].clone(), state };
    let clear = |out: &[HandedOut]| store.clear_marks(out, None).unwrap();
    assert_eq!(clear(&[handed_out(0), handed_out(1)]), [BlockId::new("a")]);
    let left = store.whole(&places).unwrap();
    let marks: Vec<(&str, bool)> = left.iter().map(|b| (b.id.as_str(), b.marked)).collect();
    assert_eq!(marks, [("b", false), ("c", true)]);
}

#[test]
fn to_look_leaves_what_a_killed_run_left() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("graph.db"), folder.path().join("copy.db"));
    let store = SqliteStore::open(&path, never()).unwrap();
    store.apply(&[create("a", "")], noon()).unwrap();
    let log = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    // A kill would leave exactly the bytes on the disk while the first connection lives.
    fs::copy(&path, &copy).unwrap();
    fs::copy(log(&path), log(&copy)).unwrap();
    let files = || [fs::read(&copy).unwrap(), fs::read(log(&copy)).unwrap()];
    let before = files();
    assert!(!before[1].is_empty());
    let found = SqliteStore::open_to_look(&copy, never()).unwrap();
    assert_eq!(found.lookup(&[BlockId::new("a")]).unwrap().len(), 1);
    drop(found);
    assert!(files() == before, "the files have changed");
    // Without a log nothing is left behind.
    drop(SqliteStore::open(&copy, never()).unwrap());
    drop(SqliteStore::open_to_look(&copy, never()).unwrap());
    assert!(!log(&copy).exists());
}

/// New blocks with these numbers, in one batch.
fn batch_of(numbers: std::ops::Range<u32>) -> Vec<Change> {
    let id = |n: u32| format!("blk_{:08x}", n.wrapping_mul(0x9e37_79b9));
    numbers.map(|n| create(&id(n), &"b".repeat(40))).collect()
}

fn is_indexed(store: &SqliteStore) -> bool {
    ids::are_indexed(&store.connection()).unwrap()
}

fn ids_in(store: &SqliteStore) -> Vec<String> {
    let mut ids = Vec::new();
    store.for_each(&mut |id, _| ids.push(id.to_string())).unwrap();
    ids.sort_unstable();
    ids
}

#[test]
fn a_graph_is_filled_without_an_index_and_has_one_before_anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let asks: [fn(&SqliteStore); 6] = [
        |store| store.prepare().unwrap(),
        |store| assert_eq!(store.lookup(&[BlockId::new("a")]).unwrap().len(), 1),
        |store| assert!(store.texts(&[BlockId::new("a")]).unwrap().len() == 1),
        |store| assert!(store.properties(&BlockId::new("a")).unwrap().is_some()),
        |store| assert_eq!(store.whole(&[Place::of(BlockId::new("a"))]).unwrap().len(), 1),
        |store| {
            let expected = Some(StoredBlock::default());
            let change = Change { id: BlockId::new("a"), expected, write: Write::Archive };
            assert_eq!(store.apply(&[change], noon()).unwrap().stale.len(), 1);
        },
    ];
    for (n, ask) in asks.into_iter().enumerate() {
        let path = folder.path().join(format!("{n}.db"));
        let store = SqliteStore::open(&path, never()).unwrap();
        assert!(is_indexed(&store), "a graph that nobody fills has its index");
        store.fill().unwrap();
        store.apply(&[create("a", "first")], noon()).unwrap();
        store.apply(&batch_of(0..100), noon()).unwrap();
        assert!(!is_indexed(&store));
        ask(&store);
        assert!(is_indexed(&store), "after question {n}");
        assert_eq!(store.apply(&[create("a", "")], noon()).unwrap().stale, [BlockId::new("a")]);
        store.fill().unwrap();
        assert!(is_indexed(&store), "a graph with blocks keeps its index");
    }
}

#[test]
fn four_times_the_blocks_write_four_times_the_pages() {
    let folder = tempfile::tempdir().unwrap();
    let written = |blocks: u32, fills: bool| {
        let path = folder.path().join(format!("{blocks}-{fills}.db"));
        let store = SqliteStore::open(&path, never()).unwrap();
        // The log keeps each page that a commit has changed.
        store.pragma(&store.connection(), "wal_autocheckpoint = 0").unwrap();
        if fills {
            store.fill().unwrap();
        }
        for from in (0..blocks).step_by(100) {
            store.apply(&batch_of(from..from + 100), noon()).unwrap();
        }
        store.prepare().unwrap();
        assert_eq!(ids_in(&store).len() as u32, blocks);
        fs::metadata(sqlite::beside(&path, "-wal")).unwrap().len()
    };
    let (once, four_times) = (written(4_000, true), written(16_000, true));
    assert!(four_times as f64 <= 4.1 * once as f64, "{once} bytes, then {four_times}");
    let by_index = written(16_000, false);
    assert!(by_index > 3 * four_times, "with the index {by_index} bytes, without it {four_times}");
}

#[test]
fn a_fill_that_is_killed_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("graph.db"), folder.path().join("copy.db"));
    let store = SqliteStore::open(&path, never()).unwrap();
    store.fill().unwrap();
    store.apply(&batch_of(0..300), noon()).unwrap();
    fs::copy(&path, &copy).unwrap();
    fs::copy(sqlite::beside(&path, "-wal"), sqlite::beside(&copy, "-wal")).unwrap();
    let batch = batch_of(200..400);
    let ids: Vec<BlockId> = batch.iter().map(|change| change.id.clone()).collect();

    let looking = SqliteStore::open_to_look(&copy, never()).unwrap();
    assert_eq!(looking.lookup(&ids).unwrap().len(), 100);
    assert!(!is_indexed(&looking), "a look makes nothing");
    drop(looking);

    let store = SqliteStore::open(&copy, never()).unwrap();
    assert!(!store.is_empty().unwrap());
    store.fill().unwrap();
    assert_eq!(store.apply(&batch, noon()).unwrap().stale.len(), 100);
    assert!(is_indexed(&store));
    let all: std::collections::BTreeSet<String> =
        batch_of(0..400).iter().map(|change| change.id.to_string()).collect();
    assert!(ids_in(&store).into_iter().eq(all), "each block once");
}

#[test]
fn a_fill_makes_the_index_once_somebody_else_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.db");
    let store = SqliteStore::open(&path, never()).unwrap();
    let other = SqliteStore::open(&path, never()).unwrap();
    store.fill().unwrap();
    store.apply(&batch_of(0..100), noon()).unwrap();
    store.apply(&[create("ours", "ours")], noon()).unwrap();

    // Another tool, which relies on an index that is not there.
    let tool = Connection::open(&path).unwrap();
    for id in ["theirs", "ours"] {
        tool.execute("INSERT OR IGNORE INTO blocks (id, body) VALUES (?1, 'tool')", [id]).unwrap();
    }
    let stale = store.apply(&[create("theirs", ""), create("more", "")], noon()).unwrap().stale;
    assert_eq!(stale, [BlockId::new("theirs")], "what they have made is seen");
    assert!(is_indexed(&store));
    let ours = store.texts(&[BlockId::new("ours")]).unwrap();
    assert_eq!(ours[&BlockId::new("ours")], "ours", "the first row counts");
    assert_eq!(ids_in(&store).len(), 103);

    // Another store makes the index before it writes.
    let path = folder.path().join("second.db");
    let store = SqliteStore::open(&path, never()).unwrap();
    let other_store = SqliteStore::open(&path, never()).unwrap();
    store.fill().unwrap();
    store.apply(&[create("a", "")], noon()).unwrap();
    assert_eq!(other_store.apply(&[create("a", "")], noon()).unwrap().stale.len(), 1);
    other_store.apply(&[create("b", "")], noon()).unwrap();
    assert_eq!(store.apply(&[create("b", "")], noon()).unwrap().stale.len(), 1);
    drop(other);
}

#[test]
fn an_older_graph_keeps_the_index_of_its_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.db");
    drop(SqliteStore::open(&path, never()).unwrap());
    let old = SCHEMA.replace("TEXT NOT NULL,\n  hash ", "TEXT NOT NULL UNIQUE,\n  hash ");
    assert!(old.contains("UNIQUE"));
    let drop_all = "DROP TABLE blocks; DROP TABLE meta;";
    Connection::open(&path).unwrap().execute_batch(&format!("{drop_all} {old}")).unwrap();
    let store = SqliteStore::open(&path, never()).unwrap();
    store.fill().unwrap();
    assert!(is_indexed(&store));
    store.apply(&[create("a", "")], noon()).unwrap();
    store.prepare().unwrap();
    assert_eq!(store.apply(&[create("a", "")], noon()).unwrap().stale, [BlockId::new("a")]);
}

#[test]
fn an_index_larger_than_memory_is_sorted_in_the_folder_of_the_graph_alone() {
    use crate::sandbox::{Walls, confine};
    let folder = tempfile::tempdir().unwrap();
    let walls = Walls { write: vec![folder.path().to_owned()], ..Walls::default() };
    let path = folder.path().join("graph.db");
    let fill = || {
        // Where the kernel has no walls, this shows only that it works.
        confine(&walls).unwrap();
        let store = SqliteStore::open(&path, never()).unwrap();
        store.fill().unwrap();
        let long = |n: u32| create(&format!("{n:0>1000}"), "");
        for from in (0..12_000).rev().step_by(1_000) {
            let batch: Vec<Change> = (from - 999..=from).map(long).collect();
            store.apply(&batch, noon()).unwrap();
        }
        store.prepare().unwrap();
        assert!(is_indexed(&store) && store.check().iter().all(|line| line.level == Level::Ok));
    };
    std::thread::scope(|scope| scope.spawn(fill).join().unwrap());
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["graph.db"], "nothing is left behind");
}

#[test]
fn a_stop_ends_what_takes_long() {
    let folder = tempfile::tempdir().unwrap();
    let stop = never();
    let store = SqliteStore::open(&folder.path().join("graph.db"), stop.clone()).unwrap();
    stop.tell();
    let connection = store.connection();
    let endless = || {
        let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|e| store.fault("", e))
    };
    assert!(matches!(store.until_told(&connection, endless), Err(GraphError::Cancelled)));
}
