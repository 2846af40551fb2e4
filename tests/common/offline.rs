//! A machine without a network: a Linux namespace in which only the loopback interface is up.

use super::not_run;
use std::process::{Command, Output};

/// A shell script that starts the loopback interface, replaces /etc/hosts, and runs its arguments.
const SET_UP: &str = r#"
up='import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x41))'
ip link set lo up || ifconfig lo up || python3 -c "$up" || exit 1
mount --bind "$1" /etc/hosts || exit 1
shift
exec "$@""#;
/// The contents of /etc/hosts. The IPv6 address comes first, as on many systems.
const HOSTS: &str = "::1 localhost\n127.0.0.1 localhost\n";

/// Runs a program in the namespace to its end, with an environment variable. Returns `None` if this machine
/// permits no namespace.
pub fn run(program: &[&str], variable: &str) -> Option<Output> {
    let hosts = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(hosts.path(), HOSTS).unwrap();
    let unshare = |program: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "--mount"]);
        command.args(["sh", "-c", SET_UP, "sh"]).arg(hosts.path());
        command.args(program).env(variable, "1").output()
    };
    match unshare(&["true"]) {
        Ok(done) if done.status.success() => Some(unshare(program).unwrap()),
        Ok(done) => {
            not_run("tests offline", &String::from_utf8_lossy(&done.stderr));
            None
        }
        Err(error) => {
            not_run("tests offline", &format!("unshare: {error}"));
            None
        }
    }
}
