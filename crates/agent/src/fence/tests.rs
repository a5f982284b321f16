use std::fs;
use std::io::{ErrorKind as Io, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};

use super::*;

const OWN_NETWORK: &str = "MMM_TEST_OWN_NETWORK";

fn fence(port: u16, server_pid_file: PathBuf) -> Fence {
    let addresses = ["10.99.0.30", "10.99.0.31", "fd99::30", "10.99.0.77"];
    Fence {
        interface: "eth0".to_owned(),
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
        server: Endpoint::new(Ipv4Addr::LOCALHOST.into(), port),
        account: Account::new("mmm_agent", "secret".to_owned()),
        own_users: Vec::new(),
        server_pid_file,
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A process that is called like a server, and a file with its pid.
struct Server {
    folder: PathBuf,
    child: Child,
}

impl Server {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("mmm-agent-fence-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join(name);
        fs::copy("/bin/sleep", &program).unwrap();
        let child = Command::new(&program).arg("60").spawn().unwrap();
        fs::write(folder.join("pid"), format!("{}\n", child.id())).unwrap();
        Self { folder, child }
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Runs this very test once more in a network of its own, which ends with it.
#[test]
fn role_addresses_go_off_with_their_connections_and_all_others_stay() {
    if std::env::var_os(OWN_NETWORK).is_none() {
        let name = "fence::tests::role_addresses_go_off_with_their_connections_and_all_others_stay";
        let again = Command::new("unshare")
            .arg("--net")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(OWN_NETWORK, "1")
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&again.stdout).into_owned() + &String::from_utf8_lossy(&again.stderr);
        assert!(again.status.success() && text.contains("1 passed"), "needs root: {text}");
        return;
    }
    ip("link set lo up");
    ip("link add eth0 type veth peer name eth1");
    for interface in ["eth0", "eth1"] {
        ip(&format!("link set {interface} up"));
    }
    for address in ["10.99.0.1/24", "10.99.0.30/32", "10.99.0.40/32", "fd99::1/64", "fd99::30/128"] {
        ip(&format!("addr add {address} dev eth0"));
    }
    ip("addr add 10.99.0.31/24 dev eth1");
    let port = TcpListener::bind("10.99.0.30:0").unwrap();
    let mut client = TcpStream::connect(port.local_addr().unwrap()).unwrap();
    let _served = port.accept().unwrap();
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();

    let fence = fence(1, PathBuf::from("/nonexistent"));
    run(async {
        assert!(fence.is_address_left().await);
        assert_eq!(fence.carry_out().await, Fenced::Closed, "nobody listens there");
        assert!(!fence.is_address_left().await);
        // Nothing is left to do, and that is no failure.
        assert_eq!(fence.carry_out().await, Fenced::Closed);
    });

    let shown = ip("addr show");
    for gone in ["10.99.0.30/", "10.99.0.31/", "fd99::30/"] {
        assert!(!shown.contains(gone), "{gone} in {shown}");
    }
    for kept in ["10.99.0.1/24", "10.99.0.40/32", "fd99::1/64"] {
        assert!(shown.contains(kept), "{kept} in {shown}");
    }
    let error = client.read(&mut [0]).unwrap_err();
    assert!(matches!(error.kind(), Io::ConnectionReset | Io::ConnectionAborted), "{error}");
}

#[test]
fn a_server_that_does_not_speak_may_still_write_and_is_killed_by_its_pid_file() {
    let hung = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut server = Server::start("mariadbd");
    let fence = fence(hung.local_addr().unwrap().port(), server.pid_file());
    run(async {
        let began = tokio::time::Instant::now();
        let fenced = fence.close_server().await;
        assert_eq!(fenced, Fenced::MayWrite { pid_file: None });
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        assert!(server.child.try_wait().unwrap().is_none());
        // What the server named before it hung goes first, when it leads to a server.
        fence.kill_server(Some(PathBuf::from("/nonexistent")));
    });
    assert_eq!(server.child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_pid_file_that_leads_to_no_server_kills_nobody() {
    let mut other = Server::start("postgres");
    let pid_file = other.pid_file();
    run(async {
        fence(1, pid_file.clone()).kill_server(None);
        for text in ["", "-1", "0", "4294967295", "99999999999999999999999999999999999999", "not a number"] {
            let odd = other.folder.join("odd");
            fs::write(&odd, text).unwrap();
            fence(1, pid_file.clone()).kill_server(Some(odd));
        }
    });
    assert!(other.child.try_wait().unwrap().is_none());
}
