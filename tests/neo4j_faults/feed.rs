//! Marked blocks of a real server: the program that is fed, the one that feeds it and the server are killed at random moments,
//! two feeds share a consumer, and 100,000 blocks take little memory.
//!
//! `cargo test` kills some times. 100 times: `ACLARAI_KILLS=100 cargo test --test neo4j_faults loses_no_block`.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::program::{Place, signal};
use crate::random::kills;
use crate::real::{Server, server};
use crate::wait::peak_until_end;

const BLOCKS: i64 = 150;

/// Works on each block and then says that it is done: what it wrote down before is what it did.
const PROGRAM: &str = r#"echo $$ > pid; while read -r line; do
    id=${line#*'"id":"'} version=${line#*'"version":'}
    id=${id%%'"'*} version=${version%%,*}
    echo "$id $version" >> worked
    echo "{\"done\": \"$id\"}"
done"#;

fn jobs(jobs: &[(&str, &str, &str)]) -> String {
    let mut yaml = "scheduler:\n  jobs:\n".to_owned();
    for (name, feed, script) in jobs {
        let command = serde_json::to_string(&["sh", "-c", script]).unwrap();
        yaml += &format!("    {name}: {{feed: {feed}, command: {command}}}\n");
    }
    yaml
}

fn note(blocks: i64, word: &str) -> String {
    let block = |i| format!("Block {word} number {i} <!-- aclarai:id=blk_{i} ver=1 -->\n\n");
    (0..blocks).map(block).collect::<String>() + "The end, which belongs to no block.\n"
}

const MARKED: &str = "MATCH (b:Block) WHERE b.needs_reprocessing RETURN count(b) AS n";

/// Each block is there, and is marked or was worked on as it is now.
#[track_caller]
fn check(server: &Server, place: &Place) {
    let worked = fs::read_to_string(place.path("worked")).unwrap_or_default();
    let worked: Vec<&str> = worked.lines().collect();
    let worked = serde_json::to_string(&worked).unwrap();
    assert_eq!(server.number("MATCH (b:Block) RETURN count(b) AS n"), BLOCKS);
    let lost = format!(
        "MATCH (b:Block) WHERE NOT b.needs_reprocessing AND NOT b.id + ' ' + b.version IN {worked} RETURN count(b) AS n"
    );
    assert_eq!(server.number(&lost), 0, "nobody worked on them, and their marks are gone");
}

#[test]
fn a_server_feeder_or_program_that_is_killed_loses_no_block() {
    let Some((server, _turn)) = server() else { return };
    let (kills, mut random) = kills("loses_no_block", 6, 17);
    let mut place = Place::new(server.config.clone());
    place.scheduler = jobs(&[("work", "{limit: 10}", PROGRAM)]);
    place.write("a.md", &note(BLOCKS, "first"));
    place.sync().expect(0);
    let worked = || fs::read_to_string(place.path("worked")).unwrap_or_default().lines().count();
    let mut met = 0;
    for kill in 0..kills {
        place.write("a.md", &note(BLOCKS, &format!("again {kill}")));
        place.sync().expect(0);
        let before = server.number(MARKED);
        let moment = worked() + random.below(BLOCKS as u64) as usize;
        let mut child = place.start(&["run", "work", "--json"]);
        wait_until("some blocks to be worked on", || worked() > moment);
        match kill % 3 {
            0 => server.must("kill"),
            1 => signal(&child, Signal::KILL),
            _ => {
                let pid = fs::read_to_string(place.path("pid")).unwrap_or_default();
                if let Some(pid) = pid.trim().parse().ok().and_then(Pid::from_raw) {
                    // It may have ended, and its number is not another's so soon.
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
        wait_for_end(&mut child);
        if kill % 3 == 0 {
            server.must("start");
        }
        check(&server, &place);
        let left = server.number(MARKED);
        met += u64::from(0 < left && left < before);
    }
    place.run(&["run", "work"]).expect(0);
    check(&server, &place);
    assert_eq!(server.number(MARKED), 0);
    eprintln!("{kills} kills, {met} of them when some blocks were done");
}

/// Both make the consumer, which is new, at the same time.
#[test]
fn two_feeds_with_one_consumer_share_it() {
    let Some((server, _turn)) = server() else { return };
    let stores = [(); 2].map(|()| open(&server.config, 3).unwrap());
    let changes: Vec<Change> = (0..50).map(|i| create(&format!("blk_{i}"))).collect();
    stores[0].apply(&changes, noon()).unwrap();
    let ids: Vec<BlockId> = changes.iter().map(|change| change.id.clone()).collect();
    let nodes = stores[0].lookup(&ids).unwrap();
    let blocks: Vec<HandedOut> =
        nodes.iter().map(|(id, node)| HandedOut::now(id.clone(), node)).collect();
    let consumers = 8;
    for consumer in 0..consumers {
        let name = format!("consumer_{consumer}");
        let both = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for store in &stores {
                scope.spawn(|| {
                    both.wait();
                    assert_eq!(store.clear_marks(&blocks, Some(&name)).unwrap(), []);
                });
            }
        });
        let which = Which { consumer: Some(name), ..Which::default() };
        assert_eq!(stores[0].count_marks(&which).unwrap().count, 0);
    }
    let found = server.number("MATCH (c:SchedulerConsumer) RETURN count(c) AS n");
    assert_eq!(found, consumers, "one node for each");
    let done = server.number("MATCH (:SchedulerConsumer)-[d:DONE]->() RETURN count(d) AS n");
    assert_eq!(done, consumers * 50, "and each block is done once by each");
    assert_eq!(server.number(MARKED), 50, "the marks stay");
}

/// The most memory that a run of the job took.
fn peak_of_run(place: &Place, blocks: i64) -> u64 {
    let mut child = place.start(&["run", "work", "--json"]);
    let peak = peak_until_end(&mut child);
    let ran = place.end(child).expect(0);
    assert_eq!(ran.json()["items_processed"], blocks, "{}", ran.stdout);
    peak
}

#[test]
fn a_feed_of_100_000_blocks_takes_little_more_memory_than_one_of_a_single_block() {
    const BLOCKS: i64 = 100_000;
    let Some((server, _turn)) = server() else { return };
    let mut place = Place::new(server.config.clone());
    place.scheduler = jobs(&[("work", "{limit: 100000}", "cat > /dev/null")]);
    let create = |from: i64, to: i64| {
        server.run(&format!(
            "UNWIND range({from}, {to}) AS i CALL (i) {{ \
             CREATE (:Block {{id: 'blk_' + (1000000000 + i), text: reduce(t = '', n IN range(1, 8) | t + 'some words of a sentence '), \
             hash: 'h' + i, version: 1, needs_reprocessing: true, last_updated: datetime(), source_file: '/vault/a.md'}}) \
             }} IN TRANSACTIONS OF 10000 ROWS"
        ));
    };
    server.run(
        "CREATE CONSTRAINT block_id_unique IF NOT EXISTS FOR (b:Block) REQUIRE b.id IS UNIQUE",
    );
    create(1, 1);
    let of_one = peak_of_run(&place, 1);
    for part in 0..20 {
        create(2 + part * BLOCKS / 20, 1 + (part + 1) * BLOCKS / 20);
    }
    let of_all = peak_of_run(&place, BLOCKS);
    let grown = of_all.saturating_sub(of_one);
    eprintln!("{} kB more", grown >> 10);
    assert!(grown < 16 << 20, "{of_one} bytes with one block, {of_all} with {BLOCKS}");
    assert_eq!(server.number(MARKED), 0);
}

/// The server goes while the program works, and stays away.
#[test]
fn blocks_whose_server_has_gone_keep_their_marks_and_the_run_says_why() {
    let Some((server, _turn)) = server() else { return };
    let mut place = Place::new(server.config.clone());
    let script = "cat > /dev/null; touch read; while [ -e read ]; do sleep 0.05; done";
    place.scheduler = jobs(&[("work", "{}", script)]);
    place.write("a.md", &note(5, "first"));
    place.sync().expect(0);
    let child = place.start(&["run", "work", "--json"]);
    wait_until("the program to have read all", || place.path("read").exists());
    server.must("kill");
    fs::remove_file(place.path("read")).unwrap();
    let ran = place.end(child).expect(4);
    let error = ran.json()["error"].as_str().unwrap().to_owned();
    server.must("start");
    assert!(error.contains("neo4j bolt://"), "{error}");
    assert_eq!(server.number(MARKED), 5);
    assert!(ran.json()["blocks_left"].is_null(), "{}", ran.stdout);
}
