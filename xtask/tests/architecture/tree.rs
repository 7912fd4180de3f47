//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file.
pub(crate) struct TextFile {
    /// From the repository's root, with `/`.
    pub path: String,
    pub text: String,
}

impl TextFile {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    pub(crate) fn extension(&self) -> &str {
        self.file_name().rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// Test code: what it does is no part of the product.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "benches"))
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// All text files that belong to the repository.
pub(crate) fn files() -> Vec<TextFile> {
    let root = root();
    let mut files = vec![];
    walk(&root, &root, &mut files);
    files.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(files.len() > 50, "only {} files found below {}", files.len(), root.display());
    files
}

fn walk(root: &Path, dir: &Path, files: &mut Vec<TextFile>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Git's own: a directory, or in a linked worktree a file that names the place of the other one.
        if path.is_symlink() || name == ".git" {
            continue;
        }
        if path.is_dir() {
            let built = matches!(name.as_str(), "target" | "corpus" | "artifacts" | "node_modules");
            if !built {
                walk(root, &path, files);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            // What is not UTF-8 is no text; what vanished meanwhile is no file.
            let relative = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            files.push(TextFile { path: relative, text });
        }
    }
}
