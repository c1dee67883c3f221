//! Walls around a thread: what it may read, write and connect to, held by the kernel (Landlock).
//!
//! Only the calling thread is confined, and the threads that it starts from then on. Other threads of the process, the
//! ones that start command jobs among them, stay as they are; a confined thread never gets out again, so whoever is to
//! be confined gets a thread of its own.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};

/// The rights that walls are made of. A kernel that knows fewer of them holds those it knows.
const KNOWN: ABI = ABI::V5;

/// The rights that a thread keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walls {
    /// Files, and folders with all that is in them, that may be read.
    pub(crate) read: Vec<PathBuf>,
    /// The same to read, write, make and remove.
    pub(crate) write: Vec<PathBuf>,
    /// Whether connections may be made.
    pub(crate) connect: bool,
}

/// The walls that the kernel put up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InForce {
    /// All of it holds.
    Whole,
    /// The kernel is older: some of it does not hold.
    Part,
    /// Nothing holds, and why.
    Nothing(&'static str),
}

/// Confines the calling thread for good. A place that is not there is left out.
pub(crate) fn confine(walls: &Walls) -> Result<InForce, String> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::BindTcp))
        .map_err(|error| error.to_string())?;
    if !walls.connect {
        ruleset =
            ruleset.handle_access(AccessNet::ConnectTcp).map_err(|error| error.to_string())?;
    }
    let mut created = ruleset.create().map_err(|error| error.to_string())?;
    let places = walls.read.iter().map(|path| (path, AccessFs::from_read(KNOWN)));
    let places = places.chain(walls.write.iter().map(|path| (path, AccessFs::from_all(KNOWN))));
    for (path, mut access) in places {
        let Ok(place) = PathFd::new(path) else { continue };
        if !path.is_dir() {
            access &= AccessFs::from_file(KNOWN);
        }
        created = created
            .add_rule(PathBeneath::new(place, access))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    created.restrict_self().map(|status| in_force(&status)).map_err(|error| error.to_string())
}

/// Asks the kernel, on a thread that ends with the question, which walls it would put up.
pub(crate) fn probe() -> Result<InForce, String> {
    let asked = std::thread::Builder::new()
        .name("sandbox-probe".to_owned())
        .spawn(|| confine(&Walls::default()))
        .map_err(|error| error.to_string())?;
    asked.join().unwrap_or_else(|_| Err("the question itself failed".to_owned()))
}

fn in_force(status: &RestrictionStatus) -> InForce {
    match (&status.ruleset, &status.landlock) {
        (RulesetStatus::FullyEnforced, _) => InForce::Whole,
        (RulesetStatus::PartiallyEnforced, _) => InForce::Part,
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => InForce::Nothing(
            "Landlock is switched off in this kernel (add landlock to its lsm= parameter)",
        ),
        (RulesetStatus::NotEnforced, _) => InForce::Nothing(
            "this kernel, or the container's filter of system calls, has no Landlock",
        ),
    }
}

/// Those of `places` that are there.
pub(crate) fn existing(places: &[&str]) -> Vec<PathBuf> {
    places.iter().map(Path::new).filter(|path| path.exists()).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind::PermissionDenied;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_confined_thread_and_its_children_stay_inside_and_all_others_do_not() {
        if probe() != Ok(InForce::Whole) {
            println!("not run: {:?}", probe());
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| temp.path().join(name);
        for folder in ["vault", "state", "outside"] {
            fs::create_dir(path(folder)).unwrap();
            fs::write(path(folder).join("file"), folder).unwrap();
        }
        std::os::unix::fs::symlink(path("outside/file"), path("vault/link")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let walls = Walls {
            read: vec![path("vault"), path("not there")],
            write: vec![path("state")],
            connect: false,
        };
        let look = || {
            assert_eq!(fs::read_to_string(path("vault/file")).unwrap(), "vault");
            fs::write(path("state/new"), "new").unwrap();
            fs::rename(path("state/new"), path("state/newer")).unwrap();
            fs::remove_file(path("state/newer")).unwrap();
            for denied in [
                fs::read(path("outside/file")).err(),
                fs::read(path("vault/link")).err(),
                fs::read("/etc/passwd").err(),
                fs::write(path("vault/file"), "x").err(),
                fs::write(path("vault/new"), "x").err(),
                fs::remove_file(path("vault/file")).err(),
                fs::rename(path("state/file"), path("outside/file")).err(),
                TcpStream::connect(address).err(),
                TcpListener::bind("127.0.0.1:0").err(),
            ] {
                assert_eq!(denied.unwrap().kind(), PermissionDenied);
            }
        };
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    assert_eq!(confine(&walls), Ok(InForce::Whole));
                    look();
                    // A thread of its own, as those that read notes.
                    std::thread::scope(|inner| inner.spawn(look).join().unwrap());
                })
                .join()
                .unwrap();
        });
        // This thread, and a program that it starts, are as free as before.
        assert_eq!(fs::read_to_string(path("outside/file")).unwrap(), "outside");
        let output = std::process::Command::new("cat").arg(path("outside/file")).output().unwrap();
        assert_eq!(output.stdout, b"outside");
        TcpStream::connect(address).unwrap();
    }
}
