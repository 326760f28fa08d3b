package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// lockKinds are the functions whose share of the CPU samples tells what locks
// cost. Waiting shows in lockSlow and lock2, which spin before they sleep, and in
// the sleeps and wake-ups below them; the uncontended paths are the first line.
var lockKinds = []struct {
	name string
	is   *regexp.Regexp
	cum  bool // with all that is called from it
}{
	{"sync.Mutex, uncontended", regexp.MustCompile(`sync\.\(\*Mutex\)\.(Lock|Unlock|TryLock)$`), false},
	{"sync.Mutex, contended", regexp.MustCompile(`sync\.\(\*Mutex\)\.(lockSlow|unlockSlow)$`), true},
	{"sync.RWMutex", regexp.MustCompile(`sync\.\(\*RWMutex\)\.(Lock|RLock|Unlock|RUnlock|unlockSlow|rUnlockSlow)$`), true},
	{"runtime locks", regexp.MustCompile(`^runtime\.(lock2|unlock2)$`), true},
	{"futex, scheduler included", regexp.MustCompile(`^runtime\.futex$`), false},
}

// locks takes a CPU profile of pushes and of broadcasts flat out and says which
// share of it locks are.
func locks(o options) error {
	all, err := nodes(o)
	defer stopAll(all)
	if err != nil {
		return err
	}
	f, err := newFleet(nil)
	if err != nil {
		return err
	}
	defer f.close()
	for _, s := range all {
		if err := f.dial(s.public, users/len(all), func(id int) string {
			return bearer(fmt.Sprint("u", id), map[bool]string{true: `"news"`}[id%10 == 0])
		}); err != nil {
			return err
		}
	}
	for _, load := range []struct {
		name string
		to   func() string
	}{
		{"pushes to 1 of 10000 users", func() string { return userTarget(rand.IntN(users)) }},
		{"broadcasts to 1000", func() string { return `{"channels":["news"]}` }},
		{"both", func() string {
			if rand.IntN(100) == 0 {
				return `{"channels":["news"]}`
			}
			return userTarget(rand.IntN(users))
		}},
	} {
		if err := profileUnder(all, load.name, load.to); err != nil {
			return err
		}
	}
	return nil
}

const profileTime = 10 * time.Second

// profileUnder profiles the first node while 16 publishers push as fast as they can.
func profileUnder(all []*server, name string, to func() string) error {
	over := time.Now().Add(profileTime + time.Second)
	pushed := make(chan error, 1)
	go func() {
		var err error
		for err == nil && time.Now().Before(over) {
			err = publish(all, 2_000, func() []byte { return body(to()) })
		}
		pushed <- err
	}()
	before, begin := all[0].cpu(), time.Now()
	profile, err := all[0].profile(profileTime)
	cores := float64(all[0].cpu()-before) / float64(time.Since(begin))
	if err := errors.Join(err, <-pushed); err != nil {
		return err
	}
	shares, err := lockShares(profile)
	if err != nil {
		return err
	}
	fmt.Printf("locks, %s flat out, %.1f cores, share of CPU samples: %s\n", name, cores, shares)
	return nil
}

func (s *server) profile(d time.Duration) ([]byte, error) {
	status, b, err := fasthttp.GetTimeout(nil, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.admin, int(d.Seconds())), d+10*time.Second)
	if err == nil && status != fasthttp.StatusOK {
		err = fmt.Errorf("profile: status %d", status)
	}
	return b, err
}

// lockShares lets pprof read a profile.
func lockShares(profile []byte) (string, error) {
	f, err := os.CreateTemp("", "pushcart-bench-*.pprof")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(profile)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	top, err := exec.Command("go", "tool", "pprof", "-top", "-nodecount=100000", "-nodefraction=0", f.Name()).Output()
	if err != nil {
		return "", fmt.Errorf("go tool pprof: %w", err)
	}
	sums := make([]float64, len(lockKinds))
	for line := range strings.SplitSeq(string(top), "\n") {
		c := strings.Fields(line) // flat flat% sum% cum cum% name
		if len(c) < 6 {
			continue
		}
		for i, k := range lockKinds {
			if k.is.MatchString(strings.TrimSuffix(strings.Join(c[5:], " "), " (inline)")) {
				sums[i] += percent(c[1], c[4], k.cum)
			}
		}
	}
	var out []string
	for i, k := range lockKinds {
		out = append(out, fmt.Sprintf("%s %.1f %%", k.name, sums[i]))
	}
	return strings.Join(out, ", "), nil
}

func percent(flat, cum string, wantCum bool) float64 {
	if wantCum {
		flat = cum
	}
	v, _ := strconv.ParseFloat(strings.TrimSuffix(flat, "%"), 64)
	return v
}
