//! Can an input be recorded from? A quick look at its source that begins nothing, for whoever is about to press the button.
//!
//! What comes of it is one line of JSON, [`Reach`]: on standard output, and for those who can't have that (the recorder, where
//! systemd runs the look) in a file.

use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use holdfast_link as link;
use serde::Serialize;

use crate::source::Source;

/// What has not answered by then does not. Below the 2 s after which whoever asked stops listening.
pub const DEADLINE: Duration = Duration::from_millis(1500);

/// What a look has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Nothing: nobody has looked, because a capture serves the input.
    pub reachable: Option<bool>,
    /// Why not, for people; ends with a remedy. Empty if it is.
    pub text: String,
}

impl Reach {
    /// A capture serves the input: it knows better, and its device may be open only once.
    #[must_use]
    pub fn served() -> Self {
        Self { reachable: None, text: "a capture serves this input; it is not looked at beside it".to_owned() }
    }

    /// Looks, for [`DEADLINE`] at most. A look that hangs is left behind, and ends with the process.
    #[must_use]
    pub fn of(source: Box<dyn Source>) -> Self {
        Self::within(DEADLINE, source)
    }

    fn within(deadline: Duration, source: Box<dyn Source>) -> Self {
        // Full: never, one is told at most; and if nobody listens any more, nobody is told.
        let (tell, told) = sync_channel(1);
        let begun = thread::Builder::new().name("look".to_owned()).spawn(move || drop(tell.send(source.look())));
        let found = match begun {
            Ok(_) => told.recv_timeout(deadline).map_err(|_| {
                let ms = deadline.as_millis();
                format!("it has given no answer within {ms} ms. Check the device, its driver, and the network's DNS")
            }),
            Err(error) => Err(format!("cannot start a thread: {error}")),
        };
        match found {
            Ok(Ok(())) => Self { reachable: Some(true), text: String::new() },
            Ok(Err(failure)) => Self { reachable: Some(false), text: failure.text },
            Err(text) => Self { reachable: Some(false), text },
        }
    }

    /// Leaves it where the recorder looks for it, whole or not at all.
    ///
    /// # Errors
    /// The runtime directory can't be written to.
    pub fn keep(&self, runtime_dir: &Path, input: &str) -> std::io::Result<()> {
        let file = runtime_dir.join(link::SOCKET_DIRECTORY).join(format!("{input}.probe"));
        let unfinished = file.with_extension("probe.tmp");
        std::fs::write(&unfinished, serde_json::to_vec(self)?)?;
        std::fs::rename(&unfinished, &file)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::Reach;
    use crate::intake::Feed;
    use crate::source::{Built, Failure, Source, Trouble};

    /// Answers once it is let go.
    struct Hangs(Mutex<Receiver<()>>, Result<(), Failure>);

    impl Source for Hangs {
        fn build(&mut self, _: &Arc<Feed>) -> Result<Built, Failure> {
            Err(Failure::source("this is only looked at"))
        }

        fn explain(&self, _: &Trouble) -> Failure {
            Failure::source("this is only looked at")
        }

        fn look(&self) -> Result<(), Failure> {
            drop(self.0.lock().map(|hang| hang.recv()));
            self.1.clone()
        }
    }

    #[test]
    fn what_does_not_answer_in_time_is_not_there() {
        let (let_go, hang) = channel();
        let look = Reach::within(Duration::from_millis(50), Box::new(Hangs(Mutex::new(hang), Ok(()))));
        assert_eq!(look.reachable, Some(false));
        assert!(look.text.contains("no answer within 50 ms"), "{}", look.text);
        drop(let_go);
        let (_, ended) = channel();
        let look = Reach::within(Duration::from_secs(60), Box::new(Hangs(Mutex::new(ended), Ok(()))));
        assert_eq!(look, Reach { reachable: Some(true), text: String::new() });
        let (_, ended) = channel();
        let away = Hangs(Mutex::new(ended), Err(Failure::source("unplugged")));
        let look = Reach::within(Duration::from_secs(60), Box::new(away));
        assert_eq!(serde_json::to_string(&look).unwrap(), r#"{"reachable":false,"text":"unplugged"}"#);
    }

    #[test]
    fn what_is_kept_is_what_was_found() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Reach::served().keep(dir.path(), "cam0").is_err());
        std::fs::create_dir(dir.path().join("capture")).unwrap();
        Reach::served().keep(dir.path(), "cam0").unwrap();
        let kept = std::fs::read_to_string(dir.path().join("capture/cam0.probe")).unwrap();
        assert!(kept.starts_with(r#"{"reachable":null,"text":"a capture serves"#), "{kept}");
    }
}
