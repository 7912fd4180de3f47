//! A server of files over TLS, and the certificate to trust it by.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{Process, Site};

/// Serves the current directory over TLS, on a free port of the loopback, and prints which.
const SERVER: &str = "
import http.server, ssl, sys
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
";

/// Of a server on localhost, which vouches for itself.
pub struct Certificate {
    directory: TempDir,
}

impl Certificate {
    /// `None`, aloud, where it can't be made.
    pub fn make() -> Option<Self> {
        let made = Self { directory: tempfile::tempdir().unwrap() };
        let subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
            .args(subject)
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .args([made.key().as_os_str(), "-out".as_ref(), made.path().as_os_str()])
            .output();
        if !output.is_ok_and(|output| output.status.success()) {
            holdfast_aloud::skip("openssl is not here, and with it no server's certificate");
            return None;
        }
        Some(made)
    }

    /// What a box is to trust.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("server.crt")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("server.key")
    }
}

impl Site {
    /// A server of this directory; its port. It ends with the site.
    pub fn serve(&mut self, directory: &Path, certificate: &Certificate) -> u16 {
        let mut command = Command::new("python3");
        command.args(["-c", SERVER]).arg(certificate.path()).arg(certificate.key()).current_dir(directory);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        self.server = Some(Process(child));
        line.trim().parse().unwrap()
    }
}
