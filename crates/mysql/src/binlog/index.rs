//! The list of a log's files that a server keeps beside them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A million files; none that anybody has is a tenth of it.
const INDEX_MAX: u64 = 64 * 1024 * 1024;

/// The files of a log in their order, as its index names them: by themselves, or seen from the directory of the data.
pub fn log_files(index: &Path, data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut text = Vec::new();
    File::open(index)?.take(INDEX_MAX).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let names = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    Ok(names.map(|name| data.join(name.strip_prefix("./").unwrap_or(name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_seen_from_the_data_unless_they_begin_at_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let index = dir.path().join("bin.index");
        std::fs::write(&index, "./bin.000001\n/logs/bin.000002\nbin.000003\n\n").unwrap();
        let files = log_files(&index, Path::new("/data")).unwrap();
        assert_eq!(files, ["/data/bin.000001", "/logs/bin.000002", "/data/bin.000003"].map(PathBuf::from));
        assert!(log_files(&dir.path().join("none"), Path::new("/data")).is_err());
    }
}
