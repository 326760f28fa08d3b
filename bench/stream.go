package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// poster is one keep-alive connection to a push API.
type poster struct {
	client *fasthttp.HostClient
	req    *fasthttp.Request
	resp   *fasthttp.Response
}

func newPoster(addr string) *poster {
	p := &poster{&fasthttp.HostClient{Addr: addr, MaxConns: 1}, fasthttp.AcquireRequest(), fasthttp.AcquireResponse()}
	p.req.SetRequestURI("http://" + addr + "/v1/push")
	p.req.Header.SetMethod(http.MethodPost)
	p.req.Header.SetContentType("application/json")
	return p
}

// post pushes once; the answer stays in p.resp.
func (p *poster) post(body []byte) error {
	p.req.SetBody(body)
	if err := p.client.DoTimeout(p.req, p.resp, 10*time.Second); err != nil {
		return err
	}
	if p.resp.StatusCode() != http.StatusOK {
		return errors.New(string(p.resp.Body()))
	}
	return nil
}

// paced calls do perSecond times a second, from at most workers goroutines, until
// ctx ends or do fails. What is late is made up for, and do is told when its turn
// was, so that a server that stalls is not spared the calls of that time.
func paced(ctx context.Context, perSecond, workers int, do func(worker int, at time.Time) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	turns := make(chan time.Time, 1<<14)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for at := range turns {
				if err := do(w, at); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	gap := time.Second / time.Duration(perSecond)
	for at := time.Now(); ctx.Err() == nil; <-tick.C {
		for ; !at.After(time.Now()) && ctx.Err() == nil; at = at.Add(gap) {
			select {
			case turns <- at:
			case <-ctx.Done():
			}
		}
	}
	close(turns)
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// steady is a stream of pushes that runs beside a measurement.
type steady struct {
	sent   atomic.Int64
	cancel context.CancelFunc
	ended  chan error
}

// steadily pushes perSecond times a second to what to says, over all nodes.
func steadily(all []*server, perSecond int, to func() string) *steady {
	ctx, cancel := context.WithCancel(context.Background())
	s := &steady{cancel: cancel, ended: make(chan error, 1)}
	posters := make([]*poster, publishers)
	for i := range posters {
		posters[i] = newPoster(all[i%len(all)].push)
	}
	go func() {
		s.ended <- paced(ctx, perSecond, publishers, func(w int, at time.Time) error {
			s.sent.Add(1)
			return posters[w].post(bodyAt(to(), at))
		})
	}()
	return s
}

// stop ends the stream and says how many pushes it made.
func (s *steady) stop() (int64, error) {
	s.cancel()
	err := <-s.ended
	return s.sent.Load(), err
}
