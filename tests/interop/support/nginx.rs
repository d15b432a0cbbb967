//! nginx in front of a server.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::peers;
use super::process::{Process, start_server};

/// A running nginx that takes MAIL and RCPT itself and then says them again to one server.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Nginx {
    /// `None` if it is not installed. The options are lines for what serves mail.
    pub(crate) fn start(server: SocketAddr, options: &str) -> Option<Self> {
        let nginx = peers::program("nginx", "Debian package nginx")?;
        let module = "/usr/lib/nginx/modules/ngx_mail_module.so";
        if !Path::new(module).is_file() {
            return peers::skip("nginx has no mail module (needs Debian package libnginx-mod-mail)");
        }
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().display();
        let file = folder.path().join("nginx.conf");
        let (process, address) = start_server(|address, hostname| {
            // It asks by HTTP where each session is to go: here itself, over a socket.
            let configuration = format!(
                "load_module {module};\n\
                 daemon off;\n\
                 master_process off;\n\
                 pid {path}/pid;\n\
                 error_log stderr;\n\
                 events {{ }}\n\
                 mail {{\n\
                 auth_http unix:{path}/where:/;\n\
                 server {{\n\
                 listen {address};\n\
                 server_name {hostname};\n\
                 protocol smtp;\n\
                 smtp_auth none;\n\
                 smtp_capabilities 8BITMIME;\n\
                 timeout 120s;\n\
                 {options}\n\
                 }}\n\
                 }}\n\
                 http {{\n\
                 access_log off;\n\
                 client_body_temp_path {path}/1;\n\
                 proxy_temp_path {path}/2;\n\
                 fastcgi_temp_path {path}/3;\n\
                 uwsgi_temp_path {path}/4;\n\
                 scgi_temp_path {path}/5;\n\
                 server {{\n\
                 listen unix:{path}/where;\n\
                 location / {{\n\
                 add_header Auth-Status OK;\n\
                 add_header Auth-Server {};\n\
                 add_header Auth-Port {};\n\
                 return 200;\n\
                 }}\n\
                 }}\n\
                 }}\n",
                server.ip(),
                server.port(),
            );
            fs::write(&file, configuration).expect("write nginx.conf");
            // A socket that was left by another attempt would be in the way.
            let _ = fs::remove_file(folder.path().join("where"));
            Process::start(
                Command::new(&nginx).args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(&file),
                Stdio::null(),
            )
        });
        Some(Self { address, _process: process, _folder: folder })
    }
}
