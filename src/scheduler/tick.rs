//! The tick thread.

use crossbeam_channel::{Receiver, Sender};

use super::{Ending, Settings, Setup, StartError};
use crate::history::Recorder;
use crate::state::DaemonLock;

pub(super) enum Command {
    Reload(Box<Settings>, Sender<()>),
    Stop,
    EnsureStop,
}

pub(super) struct Tick {
    setup: Setup,
    inbox: Receiver<Command>,
    _recorder: Recorder,
    _lock: DaemonLock,
}

impl Tick {
    pub(super) fn new(setup: Setup, inbox: Receiver<Command>) -> Result<Tick, StartError> {
        let lock = DaemonLock::take(&setup.state_dir)?;
        let recorder = Recorder::open_verified(&setup.state_dir)?;
        Ok(Tick { setup, inbox, _recorder: recorder, _lock: lock })
    }

    pub(super) fn run(&mut self) -> Ending {
        while let Ok(command) = self.inbox.recv() {
            match command {
                Command::Reload(settings, done) => {
                    self.setup.settings = *settings;
                    drop(done);
                }
                Command::Stop | Command::EnsureStop => break,
            }
        }
        Ending::default()
    }
}
