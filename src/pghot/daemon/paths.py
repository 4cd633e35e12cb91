"""Where the service's files are unless somebody says otherwise; the systemd unit names them too."""

CONFIG = "/etc/pghot/pghot.toml"
SOCKET = "/run/pghot/pghot.sock"
JOURNAL = "/run/pghot/daemon.pghot-journal"
