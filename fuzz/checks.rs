//! What must hold for any bytes that come from outside: one function for each place where they come in. The fuzz targets
//! call them with what the fuzzer makes up, `tests/corpora.rs` with what is kept in `corpus`.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use aclarai_scheduler::inside::config::{self, Env, Overrides};
use aclarai_scheduler::inside::history::History;
use aclarai_scheduler::inside::state::State;
use aclarai_scheduler::inside::vault::{copy_by_name, likely_copy_of, placeholder_of};

/// What names of other variables in a value may come to, whatever stands for whatever.
const VALUE_BYTES_MAX: usize = 64 << 10;

thread_local! {
    /// A folder for those that need a file; made once, as making it would cost more than the check.
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

fn in_folder<T>(work: impl FnOnce(&Path) -> T) -> T {
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().expect("a folder"));
        work(folder.path())
    })
}

/// A `.env`: it is read or refused, and never grows beyond bounds.
pub(crate) fn dotenv(bytes: &[u8]) {
    in_folder(|folder| {
        fs::write(folder.join(".env"), bytes).expect("written");
        let none: [(&str, &str); 0] = [];
        let variables = Env::new(folder, none).dotenv();
        let longest = variables.values().map(String::len).max().unwrap_or(0);
        assert!(longest <= VALUE_BYTES_MAX + bytes.len(), "{longest} bytes of {}", bytes.len());
    });
}

/// A configuration: it is checked, and each fault can be told in words.
pub(crate) fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let none: [(&str, &str); 0] = [];
    let env = Env::new("/nonexistent", none);
    let answer = config::from_text(text, "c.yaml", &Overrides::default(), &env);
    if let Err(faults) = answer {
        assert!(!faults.to_string().is_empty());
    }
}

/// A job's last line: a line that is meant as a verdict is read or refused with a reason, and never passed over.
pub(crate) fn last_line(bytes: &[u8]) {
    match aclarai_scheduler::inside::jobs::verdict_of(bytes) {
        None => {
            let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
            assert!(!text.starts_with(b"{"));
        }
        Some(Err(why)) => assert!(!why.is_empty()),
        Some(Ok(_)) => {}
    }
}

/// What a Bolt server answers: it is walked without a full stack and without making room for what it only claims.
#[cfg(feature = "neo4j")]
pub(crate) fn bolt(bytes: &[u8]) {
    if let Err(why) = neo4rs::bounds::check(bytes) {
        assert!(why.starts_with(neo4rs::bounds::REFUSED), "{why}");
    }
}

/// Rows of a state file, and a state file of which a part is overwritten: they are read or refused.
pub(crate) fn state(bytes: &[u8]) {
    in_folder(|folder| {
        let dir = folder.join("state");
        let _ = fs::remove_dir_all(&dir);
        let words: Vec<String> = bytes
            .splitn(6, |byte| *byte == b'\n')
            .map(|w| String::from_utf8_lossy(w).into())
            .collect();
        let word = |n: usize| words.get(n).cloned().unwrap_or_default();
        let number = |n: usize| {
            let mut eight = [0; 8];
            for (to, from) in eight.iter_mut().zip(bytes.iter().skip(n * 8)) {
                *to = *from;
            }
            i64::from_le_bytes(eight)
        };
        {
            let state = State::open_cache(&dir).expect("a new state file");
            let row = (
                (word(0), word(1), word(2), word(3)),
                (number(0), number(1), number(2), number(3)),
            );
            let _ = state.connection().execute(
                "INSERT INTO runs (job, run_id, trigger, state, reason, scheduled_for, last_scheduled_for, count, coalesced,
                     epoch, decided_at, started_at, finished_at, lateness, queue_wait, duration, attempt, error, stats, rerun)
                 VALUES (?1, ?2, ?3, ?4, ?3, ?5, ?6, ?7, ?8, ?8, ?5, ?6, ?7, ?7, ?6, ?5, ?8, ?1, ?2, ?8)",
                (row.0.0, row.0.1, row.0.2, row.0.3, row.1.0, row.1.1, row.1.2, row.1.3),
            );
        }
        look(&dir);
        // The same file with the bytes over a part of it.
        let path = dir.join("state.db");
        let mut file = fs::read(&path).expect("read");
        let at = number(0).unsigned_abs() as usize % file.len();
        let end = file.len().min(at + bytes.len());
        file[at..end].copy_from_slice(&bytes[..end - at]);
        fs::write(&path, file).expect("written");
        look(&dir);
    });
}

fn look(dir: &Path) {
    match History::open(dir) {
        Ok(Some(history)) => {
            let _ = history.recent(None, 10);
            let _ = history.open_runs();
        }
        Ok(None) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A file's name: what it is a copy of is a part of it.
pub(crate) fn name(bytes: &[u8]) {
    if let Some(plain) = copy_by_name(bytes).and_then(|copy| copy.of) {
        assert!(plain.len() <= bytes.len(), "{plain:?}");
    }
    if let Some(note) = placeholder_of(bytes) {
        assert!(note.len() < bytes.len());
    }
    if let Ok(stem) = std::str::from_utf8(bytes) {
        for plain in likely_copy_of(stem) {
            assert!(plain.len() < stem.len());
        }
    }
}
