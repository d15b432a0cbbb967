//! Haraka in a temporary folder.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::peers;
use super::process::{Process, start_server};

/// A running Haraka that takes mail for example.net and forwards it while its own client waits.
pub(crate) struct Haraka {
    pub(crate) address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Haraka {
    /// `None` if it is not installed.
    pub(crate) fn start(relay: SocketAddr) -> Option<Self> {
        let variable = "SMTP_INTEROP_HARAKA";
        let Some(package) = env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_dir()) else {
            return peers::skip(&format!("Haraka is not there (needs {variable} from .ci/peers)"));
        };
        let node = peers::program("node", "Debian package nodejs")?;
        let folder = TempDir::new().expect("a folder");
        for name in ["config", "plugins", "queue"] {
            fs::create_dir(folder.path().join(name)).expect("mkdir");
        }
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("write a file");
        write("config/plugins", "client_name\nrcpt_to.in_host_list\nqueue/smtp_forward\n");
        // Nobody is asked for the names of clients.
        write("plugins/client_name.js", "exports.hook_lookup_rdns = (next) => next(OK, 'client.example');\n");
        write("config/host_list", "example.net\n");
        write("config/smtp_forward.ini", &format!("host={}\nport={}\n", relay.ip(), relay.port()));
        write("config/connection.ini", CONNECTION);
        let (process, address) = start_server(|address, hostname| {
            write("config/me", hostname);
            write("config/smtp.ini", &format!("listen={address}\nnodes=0\n"));
            Process::start(
                Command::new(&node).arg(package.join("bin/haraka")).arg("-c").arg(folder.path()),
                Stdio::null(),
            )
        });
        Some(Self { address, _process: process, _folder: folder })
    }
}

/// Lines are as long as SMTP has them: it breaks longer ones.
const CONNECTION: &str = "\
[main]
smtputf8=true
[haproxy]
hosts[]=
[headers]
max_received=100
[max]
bytes=26214400
line_length=512
data_line_length=1000
[message]
greeting[]=
helo=Hello
close=Goodbye
[uuid]
banner_chars=6
deny_chars=0
";
