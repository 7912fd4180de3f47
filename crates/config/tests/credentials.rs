//! Credentials files: what is taken, what is refused, and that no message repeats what is in them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::PermissionsExt as _;

use holdfast_config::credentials::{CredentialsError, read};

fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cam0.credentials");
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    (directory, path)
}

#[test]
fn both_forms_are_read() {
    for (content, user, password) in [
        ("admin\nhunter2\n", "admin", "hunter2"),
        ("admin\r\nhunter2\r\n", "admin", "hunter2"),
        ("admin:hunter2", "admin", "hunter2"),
        ("admin:hun:ter2\n", "admin", "hun:ter2"),
        ("admin:\n", "admin", ""),
        ("a:b\nc:d\n", "a:b", "c:d"),
        ("admin\n pass word \n\n", "admin", " pass word "),
    ] {
        let (_directory, path) = file(content.as_bytes(), 0o640);
        let credentials = read(&path).unwrap();
        assert_eq!((credentials.user.as_str(), credentials.password.as_str()), (user, password), "{content:?}");
        if !password.is_empty() {
            assert!(!format!("{credentials:?}").contains(password));
        }
    }
}

#[test]
fn what_everyone_may_read_is_refused() {
    for mode in [0o644, 0o604, 0o602, 0o777] {
        let (_directory, path) = file(b"admin\nhunter2\n", mode);
        let error = read(&path).unwrap_err();
        assert!(matches!(error, CredentialsError::WorldReadable { .. }), "{error}");
        assert!(error.to_string().contains(&format!("chmod o= {}", path.display())), "{error}");
    }
}

#[test]
fn other_content_is_told_without_repeating_it() {
    for (content, problem) in [
        (&b""[..], "no \":\""),
        (b"hunter2\n", "no \":\""),
        (b":hunter2\n", "user is empty"),
        (b"\nhunter2\n", "user is empty"),
        (b"a\nhunter2\nc\n", "more than two lines"),
        (b"hunter2\xff\n", "not UTF-8"),
        (&[b'x'; 5000], "too long"),
    ] {
        let (_directory, path) = file(content, 0o600);
        let told = read(&path).unwrap_err().to_string();
        assert!(told.contains(problem) && !told.contains("hunter2"), "{told}");
        assert!(told.contains("user:password"), "{told}");
    }
    let missing = read(std::path::Path::new("/nonexistent/cam0")).unwrap_err().to_string();
    assert!(missing.contains("/nonexistent/cam0") && missing.contains("chmod 640"), "{missing}");
}
