package main

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// sameSignal is how long a further SIGTERM counts as the first: supervisors that
// signal a process and its group send two.
const sameSignal = time.Second

// stop ends the node in the order of SPEC §9. A second signal ends it at once.
// What could not be finished in time is logged; it does not make the process fail.
func (n *node) stop(signals <-chan os.Signal) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	began, done := time.Now(), make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		for {
			select {
			case s := <-signals:
				if s == syscall.SIGHUP {
					_, _ = n.reload() // is refused, and says so
					continue
				}
				if s == syscall.SIGTERM && time.Since(began) < sameSignal {
					continue
				}
				n.log.Warn("stopping at once", "signal", s.String())
				n.departure.hurry()
				cancel()
				return
			case <-done:
				return
			}
		}
	}()
	n.refuseReloads()
	n.sayStopping()
	n.drain(ctx)
	close(done)
	<-watching
	n.log.Info("stopped")
}

// slack is what the end may take beyond the configured times.
const slack = 5 * time.Second

func (n *node) sayStopping() {
	cfg := n.live.cfg
	if err := n.supervisor.Stopping(cfg.Shutdown.Delay + cfg.Shutdown.Drain + cfg.Webhook.Timeout + slack); err != nil {
		n.log.Warn("the service manager could not be notified how long the shutdown takes", "err", err)
	}
}

// drain: the WebSockets first; then the requests in flight; then the last webhooks,
// which the end of the WebSockets made.
func (n *node) drain(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, n.live.cfg.Shutdown.Delay+n.live.cfg.Shutdown.Drain)
	defer cancel()
	n.leave(context.Background()) // which a second signal hurries
	if err := n.proxy.Shutdown(limited); err != nil {
		n.log.Warn("requests cut", "err", err)
	}
	last, cancelLast := context.WithTimeout(ctx, n.live.cfg.Webhook.Timeout)
	defer cancelLast()
	if err := n.close(last); err != nil {
		n.log.Warn("stopped before all work was done", "err", err)
	}
}

// departure is the first half of the end: the node goes out of service, and its
// WebSockets with it. It happens once, whoever asks first: a signal, or pushcart drain.
type departure struct {
	once  sync.Once
	done  chan struct{} // closed when it is over
	ctx   context.Context
	hurry context.CancelFunc
}

func newDeparture() *departure {
	d := &departure{done: make(chan struct{})}
	d.ctx, d.hurry = context.WithCancel(context.Background())
	return d
}

// leave takes the node out of service: readiness first, so that a balancer stops
// sending; then the WebSockets, paced. Plain requests go on. It returns how many
// WebSockets are left when that is over, or ctx, which does not end it.
func (n *node) leave(ctx context.Context) (left int) {
	n.departure.once.Do(func() {
		go func() { // stop waits for it
			defer close(n.departure.done)
			n.depart(n.departure.ctx)
		}()
	})
	select {
	case <-n.departure.done:
	case <-ctx.Done():
	}
	return n.ws.Connections()
}

func (n *node) depart(ctx context.Context) {
	n.reloading.Lock()
	times := n.live.cfg.Shutdown
	n.reloading.Unlock()
	n.log.Info("draining", "connections", n.ws.Connections(), "delay", times.Delay.String(), "drain", times.Drain.String())
	n.admin.SetReady(false)
	sleep(ctx, times.Delay)
	n.ws.BeginDrain()
	n.proxy.BeginDrain() // ends the handshakes that wait
	limited, cancel := context.WithTimeout(ctx, times.Drain)
	defer cancel()
	if err := n.ws.Drain(limited); err != nil {
		n.log.Debug("connections left after the drain", "err", err)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// parting is what the sockets get for their last Close frames when the process is
// told to end at once.
const parting = 500 * time.Millisecond

// close ends what there is, from the sockets inwards. Parts that were not built
// are nil.
func (n *node) close(ctx context.Context) error {
	var errs []error
	if n.ws != nil {
		sockets, cancel := context.WithTimeout(context.Background(), parting)
		if ctx.Err() == nil {
			sockets, cancel = ctx, func() {}
		}
		errs = append(errs, n.ws.Close(sockets))
		cancel()
	}
	if n.broker != nil {
		n.broker.Flush(ctx) // which tells what is due now
	}
	if n.hooks != nil {
		errs = append(errs, n.hooks.Close(ctx))
	}
	if n.broker != nil { // what became of them
		limited, cancel := context.WithTimeout(context.Background(), parting)
		n.broker.Flush(limited)
		cancel()
	}
	if n.sessions != nil {
		n.sessions.Close()
	}
	if n.proxy != nil {
		_ = n.proxy.Shutdown(ctx) // a second time it does nothing
	}
	if n.api != nil {
		errs = append(errs, n.api.Shutdown(ctx))
	}
	if n.hub != nil {
		errs = append(errs, n.hub.Close())
	}
	if n.live != nil {
		n.live.auth.Close()
	}
	if n.admin != nil {
		errs = append(errs, n.admin.Shutdown(ctx))
	}
	for _, ln := range []net.Listener{n.public, n.pushListener, n.adminListener} {
		if ln != nil {
			_ = ln.Close() // its server closed it already, if it got so far
		}
	}
	return errors.Join(errs...)
}
