"""Default paths of the service's files; the systemd unit names them too."""

CONFIG = "/etc/pghot/pghot.toml"
SOCKET = "/run/pghot/pghot.sock"
JOURNAL = "/run/pghot/daemon.pghot-journal"
