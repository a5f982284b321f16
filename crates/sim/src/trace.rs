//! The story of a run, one line an event, kept only when somebody wants to read it.

#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) wanted: bool,
    pub(crate) lines: Vec<String>,
}

impl Trace {
    pub(crate) fn tell(&mut self, now: u64, text: impl FnOnce() -> String) {
        if self.wanted {
            self.lines.push(format!("{:>4}.{:03} {}", now / 1000, now % 1000, text()));
        }
    }
}
