package access_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"log/slog"

	"github.com/pushcart/pushcart/broker/redisbroker/access"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/leak"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/testkit"
)

func TestMain(m *testing.M) { leak.Main(m) }

// The library's own lines are not what these tests are about.
func init() { logging.Disable() }

// ways are how one node connects.
type ways struct {
	options *redis.Options
	log     testkit.Log
}

func newWays(t testing.TB, cfg config.Redis) *ways {
	t.Helper()
	w := &ways{}
	var err error
	if w.options, _, err = access.Options(cfg, ratelog.New(slog.New(slog.NewTextHandler(&w.log, nil)))); err != nil {
		t.Fatal(err)
	}
	return w
}

// do sends a command on a new connection.
func (w *ways) do(t testing.TB, args ...any) (string, error) {
	o := *w.options
	c := redis.NewClient(&o)
	defer c.Close()
	answer, err := c.Do(t.Context(), args...).Result()
	return fmt.Sprint(answer), err
}

func (w *ways) want(t testing.TB, want string, args ...any) {
	t.Helper()
	if got, err := w.do(t, args...); err != nil || !strings.Contains(got, want) {
		t.Errorf("%v at %s: got %s, %v, want %s", args, w.options.Addr, got, err, want)
	}
}

// wantFault wants an error that names a key and says a text.
func (w *ways) wantFault(t testing.TB, key, text string) {
	t.Helper()
	_, err := w.do(t, "PING")
	if err == nil || access.KeyOf(err) != key || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), w.options.Addr) {
		t.Errorf("got %q with key %q, want %q with %q", err, access.KeyOf(err), text, key)
	}
}

func TestOptions_EveryFormOfAnAddressConnects(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "redis.sock")
	s := redistest.StartWith(t, "--unixsocket", socket, "--bind", "127.0.0.1", "-::1")
	s.Do(t, "ACL", "SETUSER", "cart", "on", ">a/b", "~*", "&*", "+@all")
	_, port, _ := net.SplitHostPort(s.Addr)
	for address, want := range map[string]string{
		s.Addr:                                    "user=default db=0",
		"redis://cart:a%2Fb@" + s.Addr + "/2":     "user=cart db=2",
		"unix:" + socket:                          "user=default db=0",
		"unix://cart:a%2Fb@" + socket + "?db=3":   "user=cart db=3",
		"[::1]:" + port:                           "user=default db=0",
		"redis://cart:a%2Fb@[::1]:" + port + "/4": "user=cart db=4",
	} {
		w := newWays(t, config.Redis{Addresses: []string{address}})
		info, err := w.do(t, "CLIENT", "INFO")
		var got []string
		for _, field := range strings.Fields(info) {
			if strings.HasPrefix(field, "user=") || strings.HasPrefix(field, "db=") {
				got = append([]string{field}, got...)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, %v, want %s", address, got, err, want)
		}
	}
	gone := newWays(t, config.Redis{Addresses: []string{"unix:" + socket + ".gone"}})
	if _, err := gone.do(t, "PING"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

// A password that is rotated is used by connections to come; open ones go on.
func TestPassword_IsThatOfTheFileWhenAConnectionIsMade(t *testing.T) {
	s := redistest.Start(t)
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	s.Do(t, "ACL", "SETUSER", "cart", "on", ">first", "~*", "&*", "+@all")
	w := newWays(t, config.Redis{Addresses: []string{s.Addr}, Username: "cart", PasswordFile: file})
	open := redis.NewClient(w.options)
	defer open.Close()
	if err := open.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	s.Do(t, "ACL", "SETUSER", "cart", "resetpass", ">second")
	if _, err := w.do(t, "PING"); err == nil || !redis.HasErrorPrefix(err, "WRONGPASS") {
		t.Errorf("got %v", err)
	}
	write("second\n")
	w.want(t, "PONG", "PING")
	write("")
	w.want(t, "PONG", "PING")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.want(t, "PONG", "PING")
	if log := w.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "key=redis.password_file") || !strings.Contains(log, "is empty") {
		t.Errorf("got %s", log)
	}
	if err := open.Ping(t.Context()).Err(); err != nil {
		t.Errorf("an open connection: %v", err)
	}
}

func TestTLS_ConnectsWithAClientCertificateAndTakesANewOne(t *testing.T) {
	ca, other := testkit.NewAuthority(t), testkit.NewAuthority(t)
	s := redistest.StartTLS(t, ca, ca.Issue(t, t.TempDir(), false, "127.0.0.1"))
	dir := t.TempDir()
	own := ca.Issue(t, dir, false, "node.one")
	tls := config.RedisTLS{Enabled: true, CAFile: ca.CertFile, CertFile: own.CertFile, KeyFile: own.KeyFile}
	w := newWays(t, config.Redis{Addresses: []string{s.TLSAddr}, TLS: tls})
	w.want(t, "PONG", "PING")
	url := newWays(t, config.Redis{Addresses: []string{"rediss://" + s.TLSAddr + "/2"}, TLS: config.RedisTLS{CAFile: ca.CertFile, CertFile: own.CertFile, KeyFile: own.KeyFile}})
	url.want(t, "db=2", "CLIENT", "INFO")
	ca.Issue(t, dir, true, "node.one")
	testkit.Eventually(t, "the new certificate, which expired, is shown", func() bool {
		_, err := w.do(t, "PING")
		return err != nil && access.KeyOf(err) == "redis.tls.cert_file"
	})
	w.wantFault(t, "redis.tls.cert_file", "refuses the client certificate, or requires one: expired certificate")
	ca.Issue(t, dir, false, "node.one")
	testkit.Eventually(t, "the next one is shown", func() bool { _, err := w.do(t, "PING"); return err == nil })
	other.Issue(t, dir, false, "node.one")
	testkit.Eventually(t, "one of another authority is refused", func() bool {
		_, err := w.do(t, "PING")
		return err != nil && strings.Contains(err.Error(), "refuses the client certificate")
	})
}

func TestTLS_SaysWhichKeyIsWrong(t *testing.T) {
	ca, other := testkit.NewAuthority(t), testkit.NewAuthority(t)
	start := func(expired bool, name string) *redistest.Server {
		return redistest.StartTLS(t, ca, ca.Issue(t, t.TempDir(), expired, name), "--tls-auth-clients", "optional")
	}
	good, wrongName, expired := start(false, "127.0.0.1"), start(false, "redis.internal"), start(true, "127.0.0.1")
	at := func(addr string, tls config.RedisTLS) *ways {
		return newWays(t, config.Redis{Addresses: []string{addr}, TLS: tls})
	}
	trusting := config.RedisTLS{Enabled: true, CAFile: ca.CertFile}
	at(good.TLSAddr, trusting).want(t, "PONG", "PING")
	at(good.TLSAddr, config.RedisTLS{Enabled: true, CAFile: other.CertFile}).wantFault(t, "redis.tls.ca_file", "is not trusted: certificate signed by unknown authority")
	at(good.TLSAddr, config.RedisTLS{Enabled: true}).wantFault(t, "redis.tls.ca_file", "is not trusted")
	at(wrongName.TLSAddr, trusting).wantFault(t, "redis.tls.server_name", "is for another name: cannot validate certificate for 127.0.0.1")
	named := trusting
	named.ServerName = "redis.internal"
	at(wrongName.TLSAddr, named).want(t, "PONG", "PING")
	at(good.TLSAddr, named).wantFault(t, "redis.tls.server_name", "is for another name: ")
	at(expired.TLSAddr, trusting).wantFault(t, "redis.tls", "is to be renewed there: certificate has expired")
	at(expired.TLSAddr, config.RedisTLS{Enabled: true, Insecure: true}).want(t, "PONG", "PING")
	wanting := redistest.StartTLS(t, ca, ca.Issue(t, t.TempDir(), false, "127.0.0.1"))
	at(wanting.TLSAddr, trusting).wantFault(t, "redis.tls.cert_file", "refuses the client certificate, or requires one: certificate required")
	at(good.Addr, trusting).wantFault(t, "redis.tls.enabled", "does not speak TLS")
	at(good.TLSAddr, config.RedisTLS{}).wantFault(t, "redis.tls.enabled", "speaks TLS only")
	at(wanting.TLSAddr, config.RedisTLS{}).wantFault(t, "redis.tls.enabled", "speaks TLS only")
}

// refusing is a server that says one thing to each connection, and ends it.
func refusing(t testing.TB, says string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(says))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String()
}

// What a server says before it hangs up is the error, however the race between its words
// and a command on its way ends.
func TestConnect_SaysWhatARefusingServerSays(t *testing.T) {
	denied := newWays(t, config.Redis{Addresses: []string{refusing(t, "-DENIED Redis is running in protected mode because\r\n")}})
	full := newWays(t, config.Redis{Addresses: []string{refusing(t, "-ERR max number of clients reached\r\n")}})
	alert := newWays(t, config.Redis{Addresses: []string{refusing(t, "\x15\x03\x01\x00\x02\x02\x46")}})
	web := newWays(t, config.Redis{Addresses: []string{refusing(t, "HTTP/1.1 400 Bad Request\r\n\r\n")}})
	silent := newWays(t, config.Redis{Addresses: []string{refusing(t, "")}})
	for range 20 {
		denied.wantFault(t, "redis.password", "is in protected mode")
		alert.wantFault(t, "redis.tls.enabled", "speaks TLS only")
		web.wantFault(t, "redis.addresses", "is a web server, not redis")
		if _, err := full.do(t, "PING"); err == nil || !strings.Contains(err.Error(), "max number of clients reached") {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := silent.do(t, "PING"); err == nil || !strings.Contains(err.Error(), "closed the connection before it answered") {
		t.Errorf("got %v", err)
	}
}

// A real server in protected mode, which it is towards other machines' addresses.
func TestConnect_SaysThatRedisIsInProtectedMode(t *testing.T) {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.IsLoopback() || ip.IP.To4() == nil {
			continue
		}
		_, port, _ := net.SplitHostPort(testkit.FreeAddr(t))
		s := redistest.StartAt(t, net.JoinHostPort(ip.IP.String(), port), "--protected-mode", "yes")
		newWays(t, config.Redis{Addresses: []string{s.Addr}}).wantFault(t, "redis.password", "is in protected mode")
		return
	}
	t.Skip("this machine has no other address than that of the loopback")
}

func TestConnect_GivesUpOnAServerThatHangs(t *testing.T) {
	s := redistest.StartTLS(t, testkit.NewAuthority(t), testkit.NewCertificate(t, t.TempDir(), "h"), "--tls-auth-clients", "no")
	s.Pause()
	defer s.Resume()
	for _, tls := range []bool{false, true} {
		began := time.Now()
		_, err := newWays(t, config.Redis{Addresses: []string{s.TLSAddr}, TLS: config.RedisTLS{Enabled: tls, Insecure: true}}).do(t, "PING")
		if d := time.Since(began); err == nil || d > 3*time.Second {
			t.Errorf("TLS %v: %v after %v", tls, err, d)
		}
	}
}

// What ended is noticed before anything is sent on it, so that what is sent on another
// connection is not in doubt: go-redis looks at the socket.
func TestConnect_GoRedisSeesTheSocket(t *testing.T) {
	server := redistest.Start(t)
	o := newWays(t, config.Redis{Addresses: []string{server.Addr}}).options
	conn, err := o.Dialer(t.Context(), o.Network, o.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, ok := conn.(syscall.Conn)
	if !ok {
		t.Fatalf("%T hides its socket", conn)
	}
	if raw, err := s.SyscallConn(); err != nil || raw.Control(func(uintptr) {}) != nil {
		t.Errorf("%T has no socket: %v", conn, err)
	}
}
