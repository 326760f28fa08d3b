package master

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/internal/guard"
)

// askWait is how long a sentinel may take to answer. When none did, none is asked again for
// as long as that took, but askPause at least.
const (
	askWait  = time.Second
	askPause = 100 * time.Millisecond
)

// silentWait is how long one that did not answer the last time may take longer than the
// others.
const silentWait = 100 * time.Millisecond

// Report hears about sentinels that fail. Its methods may be called concurrently, and
// must not block.
type Report interface {
	// Silent is called whenever a sentinel is asked and does not answer.
	Silent(sentinel string, err error)
	// Alone is called whenever none answers, and a master is known of before.
	Alone(master string, err error)
}

// Sentinels are asked where the master is. All are asked at once: one that was cut off from
// the others names an old master for as long as it likes, and only its configuration epoch
// shows that. Their methods may be called concurrently.
type Sentinels struct {
	name       string // the master's; "": the only one that they watch
	configured []string
	dial       Dial
	report     Report
	guard      *guard.Guard
	ctx        context.Context // ends with Close
	cancel     func()
	work       sync.WaitGroup
	answering  atomic.Int64

	mu     sync.Mutex // held while they are asked; guards all below
	all    []*sentinel
	master string    // known; "": none
	epoch  int64     // of master
	asked  time.Time // when that began last
	again  time.Time // when they are asked again if err is set
	err    error     // why no master was named when they were asked
}

// sentinel is one of them, with a connection that stays.
type sentinel struct {
	address string
	client  *redis.Client
	busy    atomic.Bool // it is being asked
	silent  atomic.Bool // it did not answer when it was last asked
}

// NewSentinels returns the sentinels at these addresses, and the others that they know.
// Close them.
func NewSentinels(addresses []string, name string, dial Dial, r Report, g *guard.Guard) *Sentinels {
	s := &Sentinels{name: name, configured: addresses, dial: dial, report: r, guard: g}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.reach(nil)
	return s
}

// Close ends the connections to them.
func (s *Sentinels) Close() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work.Wait()
	for _, one := range s.all {
		_ = one.client.Close()
	}
}

// Answering is how many answered when they were last asked.
func (s *Sentinels) Answering() int { return int(s.answering.Load()) }

// Doubt does nothing: they are asked each time.
func (s *Sentinels) Doubt() {}

// Find asks where the master is. Where no sentinel answers that is the one known before. An
// error names the key of the configuration to look at.
func (s *Sentinels) Find(context.Context) (string, error) {
	at, err := s.latest()
	if at != "" {
		return at, nil
	}
	return "", err
}

// Confirm says why what answers at an address, and was not there all the time, is not known
// to be the master: another one may have taken its place. nil: sentinels name it now.
func (s *Sentinels) Confirm(_ context.Context, address string) error {
	switch at, err := s.latest(); {
	case err != nil:
		return fmt.Errorf("%s restarted, and no sentinel names it since: %w", address, err)
	case at != address:
		return fmt.Errorf("%s is not what the sentinels name: they name %s", address, at)
	}
	return nil
}

// latest asks, and returns the master that is known then, and why none was named just now.
func (s *Sentinels) latest() (string, error) {
	called := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.asked.After(called) || s.err != nil && called.Before(s.again)
	if !known {
		s.asked = time.Now()
		s.err = s.ask()
		s.again = time.Now().Add(max(askPause, time.Since(s.asked)))
		if s.err != nil && s.master != "" && s.ctx.Err() == nil {
			s.report.Alone(s.master, s.err)
		}
	}
	return s.master, s.err
}

// ask asks all of them, and notes what the best informed says.
func (s *Sentinels) ask() error {
	views, err := s.views()
	if err != nil {
		return err
	}
	best, votes := s.best(views)
	if best.address == "" || s.name == "" && len(watched(views)) > 1 {
		return s.nameless(views)
	}
	if best.epoch < s.epoch && 2*votes <= len(s.all) { // a majority means that the sentinels were set up again
		return fmt.Errorf("redis.addresses: the sentinels that answer lag behind others: %s names %s", best.from, best.address)
	}
	s.master, s.epoch = best.address, best.epoch
	s.reach(views)
	return nil
}

// best is what the best informed says, and how many name the same master. Among equals that
// is what most say, or what is known.
func (s *Sentinels) best(views []view) (best view, votes int) {
	of := map[string]int{}
	for _, v := range views {
		of[v.address]++
	}
	best = slices.MaxFunc(views, func(a, b view) int {
		return cmp.Or(
			compare(a.address != "", b.address != ""), cmp.Compare(a.epoch, b.epoch),
			cmp.Compare(of[a.address], of[b.address]), compare(a.address == s.master, b.address == s.master),
			cmp.Compare(a.address, b.address))
	})
	return best, of[best.address]
}

// compare has true the larger.
func compare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// nameless says why no master was named.
func (s *Sentinels) nameless(views []view) error {
	names := strings.Join(watched(views), ", ")
	switch {
	case names == "":
		return errors.New("redis.master_name: the sentinels watch no master")
	case s.name == "":
		return fmt.Errorf("redis.master_name: say which one, as the sentinels watch several: %s", names)
	}
	return fmt.Errorf("redis.master_name: the sentinels watch none called %q, but %s", s.name, names)
}

// watched are the names of masters that are watched.
func watched(views []view) (names []string) {
	for _, v := range views {
		names = append(names, v.watches...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// views asks all sentinels, and waits for those that answered the last time; hardly longer
// for the others, if anybody says something.
func (s *Sentinels) views() ([]view, error) {
	type answer struct {
		of  *sentinel
		was bool // silent, before
		view
		err error
	}
	answers, waited := make(chan answer, len(s.all)), 0
	for _, one := range s.all {
		was := one.silent.Load()
		if !was {
			waited++
		}
		s.work.Go(func() {
			a := answer{of: one, was: was, err: errPanic}
			defer func() { answers <- a }()
			defer s.guard.Recover("question to a sentinel", nil)
			a.view, a.err = s.askOne(one)
		})
	}
	var views []view
	var errs []error
	var enough <-chan time.Time
	for range s.all {
		if enough == nil && waited == 0 && len(views) > 0 {
			enough = time.After(silentWait)
		}
		var a answer
		select {
		case a = <-answers:
		case <-enough:
		}
		if a.of == nil {
			break
		}
		if !a.was {
			waited--
		}
		if a.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.of.address, a.err))
			continue
		}
		views = append(views, a.view)
	}
	s.answering.Store(int64(len(views)))
	if len(views) == 0 {
		return nil, fmt.Errorf("redis.addresses: no sentinel answers: %w", errors.Join(errs...))
	}
	return views, nil
}

var (
	errBusy  = errors.New("it did not answer before")
	errPanic = errors.New("a panic")
)

func (s *Sentinels) askOne(one *sentinel) (view, error) {
	if !one.busy.CompareAndSwap(false, true) {
		return view{}, errBusy
	}
	defer one.busy.Store(false)
	ctx, cancel := context.WithTimeout(s.ctx, askWait)
	defer cancel()
	v, err := look(ctx, one.client, s.name)
	if err = explain(err); err != nil && s.ctx.Err() == nil {
		s.report.Silent(one.address, err)
	}
	one.silent.Store(err != nil)
	v.from = one.address
	return v, err
}

// explain says which key an answer is about. go-redis compares without a leading "ERR ".
func explain(err error) error {
	switch {
	case redis.HasErrorPrefix(err, "NOAUTH"), redis.HasErrorPrefix(err, "WRONGPASS"), redis.HasErrorPrefix(err, "NOPERM"),
		redis.HasErrorPrefix(err, "AUTH "), redis.HasErrorPrefix(err, "invalid password"):
		return fmt.Errorf("redis.sentinel_username, redis.sentinel_password: %w", err)
	case redis.HasErrorPrefix(err, "unknown command"):
		return fmt.Errorf("not a sentinel: %w", err)
	}
	return err
}

// reach has those asked from now on that are configured, that answered, and that these know
// and believe to live.
func (s *Sentinels) reach(views []view) {
	addresses := slices.Clone(s.configured)
	for _, v := range views {
		addresses = append(append(addresses, v.from), v.others...)
	}
	var all []*sentinel
	for i, at := range addresses {
		if slices.Contains(addresses[:i], at) || len(all) == len(s.configured)+maxOthers {
			continue
		}
		k := slices.IndexFunc(s.all, func(one *sentinel) bool { return one.address == at })
		if k >= 0 {
			all = append(all, s.all[k])
			continue
		}
		all = append(all, &sentinel{address: at, client: s.dial(at)})
	}
	for _, one := range s.all {
		if !slices.Contains(all, one) {
			_ = one.client.Close()
		}
	}
	s.all = all
}
