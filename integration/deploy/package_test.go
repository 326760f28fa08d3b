package deploy

import (
	"os"
	"path/filepath"
	"testing"
)

// installing returns a machine that has the package in /try.
func installing(t *testing.T) *machine {
	t.Helper()
	needs(t, "dpkg", "systemd-analyze")
	m := newMachine(t)
	found, err := filepath.Glob(filepath.Join(theRelease(t).folder, "*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v: packages %q", err, found)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	m.holds(t, "pushcart.deb", string(b))
	return m
}

const saying = `say() { printf '%s=%s\n' "$1" "$2"; }
`

// Where no systemd runs, as in an image that is being built, it installs all the same.
func TestPackage_InstallsAndIsPurgedWithoutSystemd(t *testing.T) {
	t.Parallel()
	says(t, installing(t).run(t, saying+`
dpkg -i /try/pushcart.deb; say installs $?
cd /etc/pushcart
say version "$(pushcart version | cut -d' ' -f2)"
say check "$(pushcart check)"
say example "$(pushcart check /usr/share/doc/pushcart/config.example.yaml | cut -d' ' -f3)"
say folder "$(stat -c '%U:%G %a' /etc/pushcart)"
say file "$(stat -c '%U:%G %a' pushcart.yaml)"
say reads "$(setpriv --reuid pushcart --regid pushcart --clear-groups pushcart check)"
say strangers "$(setpriv --reuid nobody --regid nogroup --clear-groups cat pushcart.yaml 2>&1 | grep -o 'Permission denied')"
say verify "$(systemd-analyze verify /usr/lib/systemd/system/pushcart.service 2>&1; echo $?)"
systemd-analyze security --offline=yes --threshold=18 /usr/lib/systemd/system/pushcart.service >/try/security; say hardened $?
say bash "$(bash -c '. /usr/share/bash-completion/completions/pushcart; complete -p pushcart' | grep -o __start_pushcart)"
echo '# mine' >>pushcart.yaml
dpkg -i /try/pushcart.deb; say again $?
say kept "$(tail -1 pushcart.yaml)"
cd /
dpkg -P pushcart; say purged $?
say left "$(find /usr /etc -name '*pushcart*' | head)"
`), [][2]string{
		{"installs", "0"}, {"version", version}, {"check", "pushcart.yaml is good"}, {"example", "good"},
		{"folder", "root:pushcart 750"}, {"file", "root:pushcart 640"}, {"reads", "pushcart.yaml is good"}, {"strangers", "Permission denied"},
		{"verify", "0"}, {"hardened", "0"}, {"bash", "__start_pushcart"},
		{"again", "0"}, {"kept", "# mine"}, {"purged", "0"}, {"left", ""},
	})
}

// TestUnit_RunsUnderSystemd: its sandbox is real, a reload says what came of it, it is
// restarted where that helps, and the drain gets the time it needs.
func TestUnit_RunsUnderSystemd(t *testing.T) {
	t.Parallel()
	m := installing(t)
	m.holds(t, "pushcart.yaml", `listen: ":8080"
backend: {url: "http://127.0.0.1:3000"}
auth: {anonymous: true}
push: {listen: "unix:/run/pushcart/push.sock", socket_group: www-data}
admin: {tokens: ["${ADMIN_TOKEN}"]}
`)
	m.holds(t, "ours.conf", "[Service]\nSupplementaryGroups=www-data\nTimeoutStopSec=1s\nRestartSec=50ms\n")
	out := m.boot(t, `dpkg -i /try/pushcart.deb
cp /try/pushcart.yaml /etc/pushcart
mkdir /etc/systemd/system/pushcart.service.d
cp /try/ours.conf /etc/systemd/system/pushcart.service.d
`, saying+`
of() { systemctl show --value -p "$1" pushcart; }
status() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/$(of MainPID)/status"; }
until_changed() { for _ in $(seq 600); do [ "$(of "$1")" != "$2" ] && return; sleep 0.05; done; }
cd /etc/pushcart
ip addr add 10.9.8.7/32 dev lo

systemctl start pushcart 2>/dev/null; say without_variable $?
until_changed ActiveState activating
say without_variable_it "$(of Result) $(of ExecMainStatus) after $(of NRestarts) restarts"
systemctl reset-failed pushcart

(umask 077; echo ADMIN_TOKEN=t0ken >/etc/default/pushcart)
export ADMIN_TOKEN=t0ken
systemctl start pushcart; say start $?
say health "$(pushcart health)"
say user "$(ps -o user= "$(of MainPID)")"
say sandbox "$(status CapEff) $(status NoNewPrivs) $(status Seccomp)"
say socket "$(stat -c '%U:%G %a' /run/pushcart/push.sock)"
say push "$(setpriv --reuid www-data --regid www-data --clear-groups pushcart push --config /dev/null --address unix:/run/pushcart/push.sock --all hi | grep -c nodes)"
say address "$(pushcart status | grep -c '^[a-z0-9]* *10.9.8.7:8080 ')"
say backlog "$(ss -Hltn 'sport = :8080' | awk '{ print $3 }') of $(cat /proc/sys/net/core/somaxconn)" >/try/backlog

echo 'limits: {connections_per_ip: 5}' >>pushcart.yaml
systemctl reload pushcart; say reload $?
echo 'bad: 1' >>pushcart.yaml
systemctl reload pushcart 2>/dev/null; say bad_reload $?
say bad_reload_it "$(of ActiveState)"

before=$(of MainPID)
dpkg -i /try/pushcart.deb >/try/upgrade 2>&1; say bad_upgrade $?
say bad_upgrade_says "$(grep -c 'the old version goes on' /try/upgrade)"
[ "$before" = "$(of MainPID)" ]; say bad_upgrade_leaves_it $?
sed -i /^bad/d pushcart.yaml
dpkg -i /try/pushcart.deb >/dev/null 2>&1
until_changed MainPID "$before"; say upgrade_restarts "$(of ActiveState)"

before=$(of MainPID)
kill -9 "$before"
until_changed MainPID "$before"; until_changed MainPID 0
say killed "$(of NRestarts) restart"
for _ in $(seq 200); do pushcart health >/dev/null 2>&1 && break; sleep 0.05; done

echo 'shutdown: {delay: 2500ms, drain: 1s}' >>pushcart.yaml
systemctl reload pushcart; say longer $?
systemctl stop pushcart; say stop "$(of Result) $(of ExecMainStatus)"

systemctl start pushcart
sed -i /^shutdown/d pushcart.yaml
systemctl reload pushcart
dpkg -P pushcart >/dev/null 2>&1; say purge $?
say purged "$(systemctl is-active pushcart) $(ls /etc/pushcart 2>/dev/null)"
`)
	says(t, out, [][2]string{
		{"without_variable", "1"}, {"without_variable_it", "exit-code 2 after 0 restarts"},
		{"start", "0"}, {"health", "ready"}, {"user", "pushcart"}, {"sandbox", "0000000000000000 1 2"},
		{"socket", "pushcart:www-data 660"}, {"push", "1"}, {"address", "1"},
		{"reload", "0"}, {"bad_reload", "1"}, {"bad_reload_it", "active"},
		{"bad_upgrade", "0"}, {"bad_upgrade_says", "1"}, {"bad_upgrade_leaves_it", "0"}, {"upgrade_restarts", "active"},
		{"killed", "1 restart"}, {"longer", "0"}, {"stop", "success 0"}, {"purge", "0"}, {"purged", "inactive "},
	})
}
