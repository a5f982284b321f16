//! The process lane: ends a server that may still take writes and does not answer any more.

use std::path::PathBuf;

use mmm_core::{AgentEvent, Step, StepOutcome};
use tokio::sync::{mpsc, watch};

use crate::server_process::find_server;

pub(crate) struct ProcessLane {
    /// The configured one.
    pub(crate) pid_file: watch::Receiver<PathBuf>,
    /// The one that the server named last.
    pub(crate) named: watch::Receiver<Option<PathBuf>>,
    pub(crate) events: mpsc::Sender<AgentEvent>,
}

impl ProcessLane {
    pub(crate) async fn run(self, mut steps: mpsc::Receiver<Step>) {
        while let Some(step) = steps.recv().await {
            let outcome = match step {
                Step::KillServer => self.kill_server(),
                ref other => {
                    StepOutcome::Failed(format!("'{}' is no step for the process", other.describe()))
                }
            };
            if self.events.send(AgentEvent::StepEnded { step, outcome }).await.is_err() {
                return;
            }
        }
    }

    fn kill_server(&self) -> StepOutcome {
        let (named, pid_file) = (self.named.borrow().clone(), self.pid_file.borrow().clone());
        let Some(process) = find_server(named.iter().chain([&pid_file]).map(PathBuf::as_path)) else {
            return StepOutcome::Failed(format!(
                "its process can't be found (pid file {}): end it by hand",
                named.as_ref().unwrap_or(&pid_file).display()
            ));
        };
        let pid = process.pid();
        match process.kill() {
            Ok(()) => {
                mmm_daemon::fatal!(
                    "Killed the server (pid {pid}): its host has lost the writer role, and it may still have taken writes"
                );
                StepOutcome::Done
            }
            Err(error) => StepOutcome::Failed(format!("pid {pid} can't be killed ({error}): end it by hand")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    use super::*;

    /// A process that is called like a server, and a file with its pid.
    fn server(folder: &std::path::Path) -> (Child, PathBuf) {
        let program = folder.join("mariadbd");
        fs::copy("/bin/sleep", &program).unwrap();
        let child = Command::new(&program).arg("60").spawn().unwrap();
        let pid_file = folder.join("pid");
        fs::write(&pid_file, format!("{}\n", child.id())).unwrap();
        (child, pid_file)
    }

    async fn outcome(pid_file: PathBuf, named: Option<PathBuf>) -> StepOutcome {
        let (events, mut inbox) = mpsc::channel(4);
        let (_keep, named) = watch::channel(named);
        let (_keep, pid_file) = watch::channel(pid_file);
        let (steps, queue) = mpsc::channel(1);
        steps.send(Step::KillServer).await.unwrap();
        drop(steps);
        ProcessLane { pid_file, named, events }.run(queue).await;
        match inbox.recv().await {
            Some(AgentEvent::StepEnded { step: Step::KillServer, outcome }) => outcome,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_server_that_either_pid_file_leads_to_is_killed_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("mmm-agent-process-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let missing = folder.join("missing");
        for configured in [true, false] {
            let (mut child, pid_file) = server(&folder);
            let (pid_file, named) =
                if configured { (pid_file, None) } else { (missing.clone(), Some(pid_file)) };
            assert_eq!(outcome(pid_file, named).await, StepOutcome::Done);
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        }
        // The number of this very process, which is no server.
        let own = folder.join("own");
        fs::write(&own, std::process::id().to_string()).unwrap();
        for pid_file in [missing, own] {
            let StepOutcome::Failed(why) = outcome(pid_file, None).await else { panic!("killed something") };
            assert!(why.contains("by hand"), "{why}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
